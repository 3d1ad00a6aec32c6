-- A new build, or the one that the same Idempotency-Key made before.
-- id, owner, spec, timeout, max_wait_ms, retry_of, idempotency key ('' for none), body digest, ttl_ms
local id, owner, spec, timeout, max_wait, retry_of, key, digest, ttl = unpack(ARGV)
local now = now_ms()
if key ~= '' then
  local idem = P .. 'idempotency:' .. owner .. ':' .. key
  local before = redis.call('HMGET', idem, 'id', 'digest')
  if before[1] and redis.call('EXISTS', build_key(before[1])) == 1 then
    if before[2] ~= digest then return { 'key_reused' } end
    return { 'same', before[1] }
  end
  redis.call('HSET', idem, 'id', id, 'digest', digest)
  redis.call('PEXPIRE', idem, ttl)
end
redis.call('HSET', build_key(id), 'id', id, 'owner', owner, 'status', 'queued', 'spec', spec,
  'timeout', timeout, 'created', now, 'retry_of', retry_of)
redis.call('ZADD', index_key(owner, 'all'), 0, id)
redis.call('ZADD', index_key(owner, 'queued'), 0, id)
redis.call('ZADD', P .. 'waiting', now + max_wait, id)
redis.call('ZADD', queue_key(owner), 0, id)
if not redis.call('ZSCORE', P .. 'turns', owner) then offer_turn(owner) end
return { 'new', id, tostring(now) }
