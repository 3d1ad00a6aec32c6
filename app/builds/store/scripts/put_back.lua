-- Delays a build that could not be dispatched, with the reason on its record.
-- id, take, delay_ms, reason, message
local id, take, delay, reason, message = unpack(ARGV)
local r = redis.call('HMGET', build_key(id), 'status', 'take', 'owner')
if r[1] ~= 'queued' or r[2] ~= take then return 0 end
redis.call('ZREM', P .. 'dispatched', id)
redis.call('SREM', active_key(r[3]), id)
redis.call('HSET', build_key(id), 'reason', reason, 'message', message)
redis.call('HINCRBY', build_key(id), 'failures', 1)
redis.call('HDEL', build_key(id), 'phase', 'take')
redis.call('ZADD', P .. 'delayed', now_ms() + delay, id)
offer_turn(r[3])
changed(id, r[3])
return 1
