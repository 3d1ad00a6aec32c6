-- What a heartbeat would hear by now; nothing is renewed.
-- id, user, token_id, lease_id
local id, user, token_id, lease_id = unpack(ARGV)
local refused = refusal(id, user, token_id, lease_id)
if refused then return { refused } end
return { 'ok', cancel_wanted(id) }
