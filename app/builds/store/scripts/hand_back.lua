-- Moves a build from running to queued because its worker shuts down; counts as no lost lease.
-- id, user, token_id, lease_id, max_wait_ms
local id, user, token_id, lease_id, max_wait = unpack(ARGV)
local refused = refusal(id, user, token_id, lease_id)
if refused then return { refused } end
local now = now_ms()
count('handed_back')
if cancel_wanted(id) == 1 then
  finish(id, user, 'running', 'cancelled', 'cancelled', 'cancelled; its worker was shut down', now)
else
  start_again(id, user, 'worker_shutdown', 'its worker was shut down', now, max_wait)
end
return { 'ok' }
