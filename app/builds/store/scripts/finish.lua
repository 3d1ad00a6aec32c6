-- running → final, once. The same result again is fine; another is told what stands.
-- id, user, token_id, lease_id, status, reason, message, steps, commit, log_length, log_sha256, digest
local id, user, token_id, lease_id, status, reason, message, steps, commit = unpack(ARGV, 1, 9)
local log_length, sha256, digest = tonumber(ARGV[10]), ARGV[11], ARGV[12]
local refused = refusal(id, user, token_id, lease_id)
if refused == 'final' then
  local r = redis.call('HMGET', build_key(id), 'digest', 'token_id', 'status', 'log_sha256')
  if r[2] ~= token_id then return { 'final' } end  -- nor is a stranger told what stands
  if r[1] == digest then return { 'ok' } end
  return { 'conflict', r[3], r[4] or '' }
end
if refused then return { refused } end
local stop = redis.call('STRLEN', log_key(id))
if stop ~= log_length then return { 'incomplete', stop } end
redis.call('HSET', build_key(id), 'steps', steps, 'commit', commit, 'log_sha256', sha256,
  'digest', digest)
finish(id, user, 'running', status, reason, message, now_ms())
return { 'ok' }
