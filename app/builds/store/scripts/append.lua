-- Appends to the log at an offset. Bytes that are there may be sent again; a gap is refused.
-- id, user, token_id, lease_id, lease_ms, offset, limit, bytes
local id, user, token_id, lease_id, lease = unpack(ARGV, 1, 5)
local offset, limit, bytes = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local refused = refusal(id, user, token_id, lease_id)
if refused then return { refused } end
renew(id, lease)
local log = log_key(id)
local start = tonumber(redis.call('HGET', build_key(id), 'log_start'))
local stop = redis.call('STRLEN', log)
if offset > stop then return { 'gap', stop } end
if offset < start then return { 'conflict', start } end
local known = math.min(stop - offset, #bytes)
if known > 0 and redis.call('GETRANGE', log, offset, offset + known - 1) ~= bytes:sub(1, known) then
  return { 'conflict', stop }
end
if known < #bytes then
  local last = offset + #bytes
  if last - start > limit or last > LARGEST_LOG then return { 'full', stop } end
  stop = redis.call('APPEND', log, bytes:sub(known + 1))
  count('log_bytes', #bytes - known)
  grown(id)
end
return { 'ok', stop, cancel_wanted(id) }
