-- Opens counters that are to be filled: they count what comes from now on, and hold nothing yet.
-- KEYS: epoch, counter...
-- ARGV: epoch
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
for i = 2, #KEYS do
  redis.call('DEL', KEYS[i], KEYS[i] .. ':since')
  redis.call('HSET', KEYS[i], 'ready', 0, 'spent', 0, 'held', 0, 'left', 0, 'frac', 0, 'limit', 0)
end
return {'warm'}
