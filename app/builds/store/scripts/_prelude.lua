-- The prelude stands before every script. KEYS[1] is the prefix of all keys (one hash slot, as a
-- cluster demands). Times are milliseconds since 1970 by the store's clock, the only one that counts.
local P = KEYS[1]
local ALLOWED = ' @TRANSITIONS@ '
-- Bytes of one build's log, all attempts together. Redis refuses strings over 512 MiB, and does not
-- undo what a script did before an error; the room above is for our own lines between attempts.
local LARGEST_LOG = 500000000
-- Attempts at one build, hand-backs included, so that each build ends and its record stays small.
local MOST_ATTEMPTS = 100

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function build_key(id) return P .. 'build:' .. id end
local function log_key(id) return P .. 'log:' .. id end
local function kept_key(id) return P .. 'kept:' .. id end
local function queue_key(owner) return P .. 'queue:' .. owner end
local function active_key(owner) return P .. 'active:' .. owner end
local function index_key(owner, status) return P .. 'index:' .. owner .. ':' .. status end

local function changes_key(owner) return P .. 'changes:' .. owner end

-- Wakes the dispatchers, unless no owner waits for a turn: the next `offer_turn` wakes them then.
local function work()
  if redis.call('EXISTS', P .. 'turns') == 1 then redis.call('PUBLISH', P .. 'work', '') end
end
local function grown(id) redis.call('PUBLISH', P .. 'grown', id) end

-- Gives a changed record its new version, and publishes the change. A version is the time in
-- microseconds, or one more than the owner's last version. A stream of an owner's builds resumes
-- from a version, and finds each build once that changed after it. The version is formatted here,
-- because Lua writes numbers with 14 digits only.
local function changed(id, owner)
  local t = redis.call('TIME')
  local version = t[1] * 1000000 + t[2]
  local last = redis.call('ZREVRANGE', changes_key(owner), 0, 0, 'WITHSCORES')[2]
  if last and version <= tonumber(last) then version = tonumber(last) + 1 end
  version = string.format('%.0f', version)
  redis.call('HSET', build_key(id), 'version', version)
  redis.call('ZADD', changes_key(owner), version, id)
  redis.call('PUBLISH', P .. 'changed', id .. ' ' .. owner)
end

-- Changes a build's status, along the lifecycle's table only. No other function does.
local function move(id, owner, from, to)
  if not string.find(ALLOWED, ' ' .. from .. '>' .. to .. ' ', 1, true) then
    error('no such transition: ' .. from .. ' to ' .. to)
  end
  redis.call('HSET', build_key(id), 'status', to)
  redis.call('ZREM', index_key(owner, from), id)
  redis.call('ZADD', index_key(owner, to), 0, id)
end

-- Puts an owner with queued builds at the end of the round robin, once. `take` drops an owner who is
-- at the limit; the owner gets a turn again when one of the builds ends.
local function offer_turn(owner)
  if redis.call('ZCARD', queue_key(owner)) == 0 then
    redis.call('ZREM', P .. 'turns', owner)
  elseif not redis.call('ZSCORE', P .. 'turns', owner) then
    redis.call('ZADD', P .. 'turns', redis.call('INCR', P .. 'turn'), owner)
  end
  work()
end

-- Removes a build from every queue, deadline and limit.
local function release(id, owner)
  redis.call('ZREM', queue_key(owner), id)
  redis.call('ZREM', P .. 'delayed', id)
  redis.call('ZREM', P .. 'waiting', id)
  redis.call('ZREM', P .. 'dispatched', id)
  redis.call('ZREM', P .. 'leases', id)
  redis.call('ZREM', P .. 'deadlines', id)
  redis.call('SREM', active_key(owner), id)
  offer_turn(owner)
end

-- Adds to a total for `/metrics`.
local function count(what, by) redis.call('HINCRBY', P .. 'counts', what, by or 1) end

-- Adds the wait of a first attempt, from its submission to `what`, to a histogram: to the sum, and
-- to the first bucket that is large enough. The reader makes the buckets cumulative.
local WAITS = { @WAITS@ }
local function count_wait(what, id, now)
  local wait = math.max(0, now - redis.call('HGET', build_key(id), 'created'))
  local bucket = 'Inf'
  for _, seconds in ipairs(WAITS) do
    if wait <= seconds * 1000 then bucket = seconds break end
  end
  count('wait:' .. what .. ':' .. bucket)
  count('wait_ms:' .. what, wait)
end

-- Updates the moving average of run times; the last run weighs a fifth.
local function note_run(id, now)
  local started = redis.call('HGET', build_key(id), 'started')
  if not started then return end
  local before = redis.call('HGET', P .. 'pace', 'run_ms')
  local run = now - started
  redis.call('HSET', P .. 'pace', 'run_ms', math.floor(before and before * 0.8 + run * 0.2 or run))
  redis.call('HINCRBY', P .. 'pace', 'runs', 1)
end

local function finish(id, owner, from, to, reason, message, now)
  if from == 'running' then note_run(id, now) end
  move(id, owner, from, to)
  redis.call('HSET', build_key(id), 'finished', now, 'reason', reason, 'message', message)
  redis.call('HDEL', build_key(id), 'lease_id', 'nonce', 'phase', 'take')
  redis.call('DEL', kept_key(id))
  redis.call('ZADD', P .. 'ended', now, id)
  count('ended:' .. to .. ':' .. reason)
  release(id, owner)
  changed(id, owner)
end

-- Puts a dispatched or running build back into its owner's queue.
local function requeue(id, owner)
  redis.call('ZREM', P .. 'dispatched', id)
  redis.call('SREM', active_key(owner), id)
  redis.call('HDEL', build_key(id), 'phase', 'take')
  redis.call('ZADD', queue_key(owner), 0, id)
  offer_turn(owner)
end

-- Ends the attempt of a running build with a reason, and queues the build for the next attempt.
local function start_again(id, owner, reason, words, now, max_wait)
  local r = redis.call('HMGET', build_key(id), 'attempt', 'attempts', 'worker')
  local ended = r[2] and cjson.decode(r[2]) or {}
  ended[#ended + 1] = { attempt = tonumber(r[1]), reason = reason, ended_at = now / 1000,
    worker = r[3] }
  if #ended >= MOST_ATTEMPTS then
    finish(id, owner, 'running', 'errored', 'worker_lost', 'given up after ' .. #ended .. ' attempts',
      now)
    return
  end
  move(id, owner, 'running', 'queued')
  redis.call('HSET', build_key(id), 'attempts', cjson.encode(ended))
  redis.call('HDEL', build_key(id), 'lease_id', 'nonce', 'started', 'worker', 'steps', 'commit')
  redis.call('ZREM', P .. 'leases', id)
  redis.call('ZREM', P .. 'deadlines', id)
  redis.call('ZADD', P .. 'waiting', now + max_wait, id)
  redis.call('APPEND', log_key(id), '\n[attempt ' .. r[1] .. ' ended: ' .. words
    .. '; the build starts again]\n')
  requeue(id, owner)
  changed(id, owner)
end

local function is_final(status)
  return status ~= 'queued' and status ~= 'running'
end

-- Checks a call of a worker; returns nil, or the word for its refusal. The lease is checked before
-- the token, so that a worker whose build was taken over learns that it lost its lease.
local function refusal(id, user, token_id, lease_id)
  local r = redis.call('HMGET', build_key(id), 'status', 'owner', 'lease_id', 'token_id')
  if not r[1] then return 'missing' end
  if r[2] ~= user then return 'wrong_build' end
  if is_final(r[1]) then return 'final' end
  if r[1] ~= 'running' or r[3] ~= lease_id then return 'lease_lost' end
  if r[4] ~= token_id then return 'superseded' end
  return nil
end

local function renew(id, lease_ms)
  local now = now_ms()
  redis.call('ZADD', P .. 'leases', now + lease_ms, id)
  redis.call('HSET', P .. 'pace', 'worker_seen', now)
end

local function cancel_wanted(id)
  return redis.call('HEXISTS', build_key(id), 'cancel_at')
end
