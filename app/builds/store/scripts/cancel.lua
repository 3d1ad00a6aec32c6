-- Ends a queued build at once; marks a running one, whose worker then learns of it.
-- id, owner, who
local id, owner, who = unpack(ARGV)
local r = redis.call('HMGET', build_key(id), 'status', 'owner')
if not r[1] or r[2] ~= owner then return { 'missing' } end
if r[1] == 'cancelled' then return { 'ok' } end
if is_final(r[1]) then return { 'final', r[1] } end
local now = now_ms()
if redis.call('HSETNX', build_key(id), 'cancel_at', now) == 1 then
  redis.call('HSET', build_key(id), 'cancel_by', who)
  changed(id, owner)
end
if r[1] == 'queued' then
  finish(id, owner, 'queued', 'cancelled', 'cancelled', 'cancelled before it began', now)
end
return { 'ok' }
