-- Records an attempt and its token, just before the message is sent; once per take. The same token
-- again is accepted, since the first response may have been lost.
-- id, take, token_id, token facts, queue_ttl_ms
local id, take, token_id, facts, queue_ttl = unpack(ARGV)
local now = now_ms()
local r = redis.call('HMGET', build_key(id), 'status', 'phase', 'take', 'token_id', 'owner')
if r[1] ~= 'queued' or r[3] ~= take then return 'unwanted' end
if r[2] == 'sent' then return r[4] == token_id and 'sent' or 'unwanted' end
-- Without a `jti`, two tokens for the same build within one second are the same token. A prefetched
-- token may come again: it is the next attempt's until a worker has claimed the build with it.
if r[4] == token_id and redis.call('EXISTS', kept_key(id)) == 0 then return 'same_token' end
-- Too late: the token was minted for a shorter wait. The reaper requeues the build.
if tonumber(redis.call('ZSCORE', P .. 'dispatched', id)) < now then return 'unwanted' end
local attempt = redis.call('HINCRBY', build_key(id), 'attempt', 1)
count('dispatched')
if attempt == 1 then count_wait('dispatch', id, now) end
redis.call('HSET', build_key(id), 'phase', 'sent', 'token_id', token_id, 'token', facts,
  'reason', '', 'message', '')
redis.call('ZADD', P .. 'dispatched', now + queue_ttl, id)
changed(id, r[5])
return 'sent'
