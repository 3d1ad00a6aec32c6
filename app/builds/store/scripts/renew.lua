-- Renews a lease, and records the progress of the steps where it is given.
-- id, user, token_id, lease_id, lease_ms, steps ('' for none), commit ('' for none)
local id, user, token_id, lease_id, lease, steps, commit = unpack(ARGV)
local refused = refusal(id, user, token_id, lease_id)
if refused then return { refused } end
renew(id, lease)
if steps ~= '' then
  redis.call('HSET', build_key(id), 'steps', steps, 'commit', commit)
  changed(id, user)
end
return { 'ok', cancel_wanted(id) }
