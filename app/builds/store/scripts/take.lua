-- Takes the next build of the user whose turn it is, and marks it as being dispatched.
-- window, limit per user, hold_ms (the time to get a token and send the message), most (turns that
-- one call considers: thousands of users who are at their limit must not hold up everything else)
local window, limit, hold = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('ZCARD', P .. 'dispatched') >= window then return { 'full' } end
for _ = 1, tonumber(ARGV[4]) do
  local owner = redis.call('ZRANGE', P .. 'turns', 0, 0)[1]
  if not owner then return { 'none' } end
  redis.call('ZREM', P .. 'turns', owner)
  local id = redis.call('ZRANGE', queue_key(owner), 0, 0)[1]
  local active = redis.call('SCARD', active_key(owner))
  if id and active < limit then
    redis.call('ZREM', queue_key(owner), id)
    local r = redis.call('HMGET', build_key(id), 'timeout', 'attempt', 'failures', 'trace')
    if r[1] then active = active + 1 end  -- else its record was evicted: nothing to dispatch
    if active < limit and redis.call('ZCARD', queue_key(owner)) > 0 then
      redis.call('ZADD', P .. 'turns', redis.call('INCR', P .. 'turn'), owner)
    end
    if r[1] then
      -- The number of this take fences what its dispatcher writes: the reaper requeues the build of
      -- a stalled dispatcher, and another may have taken it when the first one goes on.
      local take = redis.call('INCR', P .. 'turn')
      redis.call('SADD', active_key(owner), id)
      redis.call('ZADD', P .. 'dispatched', now_ms() + hold, id)
      redis.call('HSET', build_key(id), 'phase', 'minting', 'take', take)
      return { 'taken', id, owner, r[1], r[2] or '0', take, r[3] or '0', r[4] or '',
        redis.call('EXISTS', P .. 'turns') }
    end
  end
end
return { 'more' }
