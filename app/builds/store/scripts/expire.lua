-- Requeues or ends what is overdue, and deletes what ended long ago, up to `most` builds of each
-- kind. Returns the time, whether it held, and pairs of what was done and a build's id.
-- hold ('1': end nothing yet), max_attempts, max_wait_ms, retention_ms, most, not_after ('' for ever)
local hold, max_attempts, max_wait, retention = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local most = ARGV[5]
local now = now_ms()
-- The store was frozen after the reaper sent this, or the reaper was: no worker could renew a lease
-- meanwhile.
if ARGV[6] ~= '' and now > tonumber(ARGV[6]) then hold = '1' end
local done = { tostring(now), hold }

-- Returns the ids in a set whose time has come. An id without a record (evicted, or deleted by hand)
-- is dropped: it must not keep the reaper from all others.
local function due(set, before)
  local ids = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. set, '-inf', before or now, 'LIMIT', 0, most)) do
    if redis.call('EXISTS', build_key(id)) == 1 then
      ids[#ids + 1] = id
    else
      redis.call('ZREM', P .. set, id)
    end
  end
  return ids
end

local function note(what, id)
  done[#done + 1] = what
  done[#done + 1] = id
end

for _, id in ipairs(due('delayed')) do
  redis.call('ZREM', P .. 'delayed', id)
  local owner = redis.call('HGET', build_key(id), 'owner')
  redis.call('ZADD', queue_key(owner), 0, id)
  offer_turn(owner)
end

-- Builds that ended longer ago than the retention are deleted.
for _, id in ipairs(due('ended', now - retention)) do
  local r = redis.call('HMGET', build_key(id), 'owner', 'status')
  redis.call('ZREM', index_key(r[1], 'all'), id)
  redis.call('ZREM', changes_key(r[1]), id)
  redis.call('ZREM', index_key(r[1], r[2]), id)
  redis.call('ZREM', P .. 'ended', id)
  redis.call('UNLINK', build_key(id), log_key(id), kept_key(id))
end
if hold == '1' then return done end

-- Builds that waited too long end, whether they lacked a token, the broker or a worker.
for _, id in ipairs(due('waiting')) do
  local r = redis.call('HMGET', build_key(id), 'owner', 'reason', 'message')
  local reason, message = r[2], r[3]
  if not reason or reason == '' then
    reason, message = 'expired_in_queue', 'no worker began it in time'
  end
  finish(id, r[1], 'queued', 'errored', reason, message, now)
  note(reason, id)
end

-- Builds whose message was not claimed (lost, purged, or every worker was busy) are queued again.
for _, id in ipairs(due('dispatched')) do
  local owner = redis.call('HGET', build_key(id), 'owner')
  requeue(id, owner)
  changed(id, owner)
  note('not_claimed', id)
end

-- Builds whose lease has ended are queued again, or end after `max_attempts` lost leases.
for _, id in ipairs(due('leases')) do
  count('lease_lost')
  local r = redis.call('HMGET', build_key(id), 'owner', 'cancel_at')
  if r[2] then
    finish(id, r[1], 'running', 'cancelled', 'cancelled', 'cancelled; its worker was lost', now)
    note('cancelled', id)
  else
    local losses = redis.call('HINCRBY', build_key(id), 'losses', 1)
    if losses >= max_attempts then
      finish(id, r[1], 'running', 'errored', 'worker_lost',
        'its worker fell silent, ' .. losses .. ' times in all', now)
    else
      start_again(id, r[1], 'worker_lost', 'its worker fell silent', now, max_wait)
    end
    note('worker_lost', id)
  end
end

-- Builds whose worker renewed the lease, but did not report a result in time, end.
for _, id in ipairs(due('deadlines')) do
  finish(id, redis.call('HGET', build_key(id), 'owner'), 'running', 'timed_out', 'build_timed_out',
    'its worker did not report its end in time', now)
  note('build_timed_out', id)
end
return done
