-- Changes what is counted in place of a charge that has not come.
-- KEYS: epoch, counted
-- ARGV: epoch, counted parts ("key number" a line, '' for none), ttl_ms of those
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
local before = redis.call('GET', KEYS[2])
if not before then
  return {'gone'}
end
redis.call('DEL', KEYS[2])
each_part(before, function(key, number) spend(key, negated(number), '0') end)
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
  each_part(ARGV[2], function(key, number) spend(key, number, '0') end)
end
return {'recounted'}
