-- Decisions that nobody was told of: what they hold is free, and their requests may be decided anew.
-- KEYS: epoch, expiry, then hold and request of each
-- ARGV: epoch, decision ids
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
for n = 2, #ARGV do
  local hold, request = KEYS[2 * n - 1], KEYS[2 * n]
  redis.call('ZREM', KEYS[2], ARGV[n])
  local parts = redis.call('GET', hold)
  if parts then
    redis.call('DEL', hold)
    unhold(parts)
  end
  if redis.call('GET', request) == ARGV[n] then
    redis.call('DEL', request)
  end
end
return {'gone'}
