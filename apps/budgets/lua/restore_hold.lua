-- Puts a hold of the journal back, or what is counted in place of its charge.
-- KEYS: epoch, expiry, request, hold, counted, ended
-- ARGV: epoch, expires_ms, ttl_ms, decision id, 'held' or 'counted', parts ("key number" a line)
-- What is counted is in the snapshot's sums already; what became of it since takes its place.
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
if redis.call('EXISTS', KEYS[4], KEYS[5]) > 0 then
  return {'gone'}
end
local became = redis.call('HGET', KEYS[6], ARGV[4])
if became then
  if ARGV[5] == 'counted' then
    each_part(ARGV[6], unspend_part)
  end
  if became ~= 'charged' then
    count_in_place(KEYS[5], became, ARGV[3])
  end
  return {'gone'}
end
if ARGV[5] == 'held' then
  redis.call('SET', KEYS[4], ARGV[6])
  redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[3])
  redis.call('ZADD', KEYS[2], ARGV[2], ARGV[4])
  each_part(ARGV[6], function(key, number)
    add(key, 'held', number)
    add(key, 'left', negated(number))
  end)
else
  redis.call('SET', KEYS[5], ARGV[6], 'PX', ARGV[3])
end
return {'restored'}
