-- Returns what a heartbeat would return now, without renewing the lease.
-- id, user, token_id, lease_id
local id, user, token_id, lease_id = unpack(ARGV)
local refused = refusal(id, user, token_id, lease_id)
if refused then return { refused } end
return { 'ok', cancel_wanted(id) }
