-- When a hold that is there runs out.
-- KEYS: epoch, expiry
-- ARGV: epoch, decision id, expires_ms
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
redis.call('ZADD', KEYS[2], 'XX', ARGV[3], ARGV[2])
return {'moved'}
