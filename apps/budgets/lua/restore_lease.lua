-- Puts a lease of the journal back, or what is counted in its place, less what became of it since
-- the snapshot.
-- KEYS: epoch, expiry, request, hold, counted, ended, the router's leases
-- ARGV: epoch, expires_ms, ttl_ms, lease id, 'held' or 'counted', parts ("key number" a line)
-- What is counted is in the snapshot's sums already.
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
if redis.call('EXISTS', KEYS[4], KEYS[5]) > 0 then
  return {'gone'}
end
local lease, kind, parts = ARGV[4], ARGV[5], ARGV[6]
local visit = kind == 'counted' and unspend_part or function() end
if redis.call('HEXISTS', KEYS[6], lease) == 1 then
  -- Nothing is counted in its place any more.
  each_part(parts, visit)
  return {'gone'}
end
local became = redis.call('HGETALL', KEYS[6])
for i = 1, #became, 2 do
  if string.match(became[i], '^take:%d+:(.+)$') == lease then
    parts = without(parts, became[i + 1], visit)
  end
end
if kind == 'counted' then
  redis.call('SET', KEYS[5], parts, 'PX', ARGV[3])
else
  redis.call('SET', KEYS[4], parts)
  redis.call('SET', KEYS[3], lease, 'PX', ARGV[3])
  redis.call('ZADD', KEYS[2], ARGV[2], lease)
  each_part(parts, function(key, number)
    add(key, 'held', number)
    add(key, 'left', negated(number))
  end)
end
redis.call('SADD', KEYS[7], lease)
redis.call('PEXPIRE', KEYS[7], ARGV[3])
return {'restored'}
