-- Moves a build from running to a final status, once, and appends the last bytes of the log. The
-- same result again is accepted; another one gets the result on record.
-- id, user, token_id, lease_id, status, reason, message, steps, commit, log_length, log_sha256,
-- digest, verified ('log', 'tail' or ''), limit, tail
local id, user, token_id, lease_id, status, reason, message, steps, commit = unpack(ARGV, 1, 9)
local log_length, sha256, digest, verified = tonumber(ARGV[10]), ARGV[11], ARGV[12], ARGV[13]
local limit, tail = tonumber(ARGV[14]), ARGV[15]
local refused = refusal(id, user, token_id, lease_id)
if refused == 'final' then
  local r = redis.call('HMGET', build_key(id), 'digest', 'token_id', 'status', 'log_sha256')
  if r[2] ~= token_id then return { 'final' } end  -- another attempt's token learns no result
  if r[1] == digest then return { 'ok' } end
  return { 'conflict', r[3], r[4] or '' }
end
if refused then return { refused } end
local log = log_key(id)
local start = tonumber(redis.call('HGET', build_key(id), 'log_start'))
local stop = redis.call('STRLEN', log)
local offset = log_length - #tail
if stop < offset or stop > log_length then return { 'incomplete', math.min(stop, log_length) } end
local known = stop - offset
if offset < start or (known > 0 and redis.call('GETRANGE', log, offset, stop - 1) ~= tail:sub(1, known))
then
  return { 'incomplete', start }
end
if verified == '' or (verified == 'tail' and offset ~= start) then return { 'unverified', start } end
if known < #tail then
  if log_length - start > limit or log_length > LARGEST_LOG then return { 'full', stop } end
  redis.call('APPEND', log, tail:sub(known + 1))
  count('log_bytes', #tail - known)
  grown(id)
end
redis.call('HSET', build_key(id), 'steps', steps, 'commit', commit, 'log_sha256', sha256,
  'digest', digest)
finish(id, user, 'running', status, reason, message, now_ms())
return { 'ok' }
