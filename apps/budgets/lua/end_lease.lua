-- Ends a lease that is held, or lowers what is counted in its place: what is given back is free,
-- what else nobody claimed yet is counted in place of the charges that may still claim it.
-- KEYS: epoch, expiry, hold, counted
-- ARGV: epoch, lease id, 'held' or 'counted' (what it must be), what is given back ("key number" a
--   line, '' for none), ttl_ms
-- Answers: {'ended'} | {'gone'} | {'lost'}
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
local parts = redis.call('GET', KEYS[ARGV[3] == 'held' and 3 or 4])
if ARGV[3] == 'held' then
  redis.call('ZREM', KEYS[2], ARGV[2])
end
if not parts then
  return {'gone'}
end
if ARGV[3] == 'held' then
  redis.call('DEL', KEYS[3])
  unhold(parts)
  count_in_place(KEYS[4], without(parts, ARGV[4], function() end), ARGV[5])
else
  redis.call('SET', KEYS[4], without(parts, ARGV[4], unspend_part), 'KEEPTTL')
end
return {'ended'}
