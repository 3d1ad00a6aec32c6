-- Moves a build from queued to running, once per attempt; the same nonce gets the same response.
-- id, user, token_id, nonce, worker, lease_id, lease_ms, after_timeout_ms (to kill and to report)
local id, user, token_id, nonce, worker, lease_id, lease, after_timeout = unpack(ARGV)
local now = now_ms()
local r = redis.call('HMGET', build_key(id), 'status', 'owner', 'token_id', 'nonce', 'phase',
  'lease_id', 'started', 'attempt', 'spec', 'log_start', 'timeout')
if not r[1] then return { 'missing' } end
if r[2] ~= user then return { 'wrong_build' } end
if is_final(r[1]) then return { 'final' } end
if r[3] ~= token_id then return { 'superseded' } end
if r[1] == 'running' then
  if r[4] ~= nonce then return { 'held' } end
  renew(id, lease)
  return { 'claimed', r[6], r[8], r[9], r[10], tostring(r[11] * 1000 - (now - r[7])),
    cancel_wanted(id) }
end
-- Too late, or requeued: this attempt is over although no other has begun.
local deadline = redis.call('ZSCORE', P .. 'dispatched', id)
if r[5] ~= 'sent' or not deadline or tonumber(deadline) < now then return { 'lease_lost' } end
local log_start = redis.call('STRLEN', log_key(id))
move(id, user, 'queued', 'running')
if r[8] == '1' then count_wait('claim', id, now) end
redis.call('HSET', build_key(id), 'nonce', nonce, 'worker', worker, 'lease_id', lease_id,
  'started', now, 'log_start', log_start)
redis.call('HDEL', build_key(id), 'phase', 'take', 'failures')
redis.call('LPOP', kept_key(id))  -- this attempt's token; the next attempt has another
redis.call('ZREM', P .. 'dispatched', id)
redis.call('ZREM', P .. 'waiting', id)
renew(id, lease)
redis.call('ZADD', P .. 'deadlines', now + r[11] * 1000 + after_timeout, id)
changed(id, user)
work()
return { 'claimed', lease_id, r[8], r[9], tostring(log_start), tostring(r[11] * 1000), 0 }
