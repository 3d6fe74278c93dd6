-- Commits that have left the queue: remembered a while against a late word from ingest.
-- KEYS: epoch, applied, folded
-- ARGV: epoch, now_ms, forget_before_ms, commit...
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', ARGV[3])
for i = 4, #ARGV do
  redis.call('SREM', KEYS[2], ARGV[i])
  redis.call('ZADD', KEYS[3], ARGV[2], ARGV[i])
end
return {'folded'}
