-- Records an attempt and its token, just before the message goes out.
-- id, attempt before, token_id, token facts, queue_ttl_ms
local id, attempt, token_id, facts, queue_ttl = unpack(ARGV)
local r = redis.call('HMGET', build_key(id), 'status', 'phase', 'attempt')
if r[1] ~= 'queued' or r[2] ~= 'minting' or (r[3] or '0') ~= attempt then return 0 end
redis.call('HSET', build_key(id), 'phase', 'sent', 'attempt', attempt + 1,
  'token_id', token_id, 'token', facts, 'reason', '', 'message', '')
redis.call('ZADD', P .. 'dispatched', now_ms() + queue_ttl, id)
changed(id)
return 1
