-- Records and queues a new build, or returns the build that the same Idempotency-Key made before.
-- id, owner, spec, timeout, max_wait_ms, retry_of, idempotency key ('' for none), body digest, ttl_ms,
-- queue_limit, labels and trace ('' for none), kept_ttl_ms, sealed tokens of its attempts (any number)
local id, owner, spec, timeout, max_wait, retry_of, key, digest, ttl = unpack(ARGV, 1, 9)
local queue_limit, labels, trace, kept_ttl = tonumber(ARGV[10]), ARGV[11], ARGV[12], ARGV[13]
local now = now_ms()
local idem
if key ~= '' then
  idem = P .. 'idempotency:' .. owner .. ':' .. key
  local before = redis.call('HMGET', idem, 'id', 'digest')
  if before[1] and redis.call('EXISTS', build_key(before[1])) == 1 then
    if before[2] ~= digest then return { 'key_reused' } end
    return { 'same', before[1] }
  end
end
-- All queued builds count, dispatched or not. A requeued build is not checked: it was accepted before.
if redis.call('ZCARD', index_key(owner, 'queued')) >= queue_limit then return { 'queue_full' } end
if idem then
  redis.call('HSET', idem, 'id', id, 'digest', digest)
  redis.call('PEXPIRE', idem, ttl)
end
redis.call('HSET', build_key(id), 'id', id, 'owner', owner, 'status', 'queued', 'spec', spec,
  'timeout', timeout, 'created', now, 'retry_of', retry_of)
if labels ~= '' then redis.call('HSET', build_key(id), 'labels', labels) end
if trace ~= '' then redis.call('HSET', build_key(id), 'trace', trace) end
if ARGV[14] then
  redis.call('RPUSH', kept_key(id), unpack(ARGV, 14))
  redis.call('PEXPIRE', kept_key(id), kept_ttl)
end
redis.call('ZADD', index_key(owner, 'all'), 0, id)
redis.call('ZADD', index_key(owner, 'queued'), 0, id)
redis.call('ZADD', P .. 'waiting', now + max_wait, id)
count('submitted')
redis.call('ZADD', queue_key(owner), 0, id)
changed(id, owner)
if not redis.call('ZSCORE', P .. 'turns', owner) then offer_turn(owner) end
return { 'new', id, tostring(now) }
