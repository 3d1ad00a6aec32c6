-- A build that could not be dispatched waits again, and its record says why.
-- id, attempt that it was taken or sent at, delay_ms, reason, message
local id, attempt, delay, reason, message = unpack(ARGV)
local r = redis.call('HMGET', build_key(id), 'status', 'attempt', 'owner')
if r[1] ~= 'queued' or (r[2] or '0') ~= attempt then return 0 end
if redis.call('ZREM', P .. 'dispatched', id) == 0 then return 0 end
redis.call('SREM', active_key(r[3]), id)
redis.call('HSET', build_key(id), 'reason', reason, 'message', message)
redis.call('HDEL', build_key(id), 'phase')
redis.call('ZADD', P .. 'delayed', now_ms() + delay, id)
offer_turn(r[3])
changed(id)
return 1
