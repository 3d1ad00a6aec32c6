-- Ends a build that can never be dispatched, with the reason on its record.
-- id, take, reason, message
local id, take, reason, message = unpack(ARGV)
local r = redis.call('HMGET', build_key(id), 'status', 'take', 'owner')
if r[1] ~= 'queued' or r[2] ~= take then return 0 end
finish(id, r[3], 'queued', 'errored', reason, message, now_ms())
return 1
