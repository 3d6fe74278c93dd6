-- A decision on a request that nobody was told of: the request may be decided anew.
-- KEYS: epoch, request
-- ARGV: epoch, decision id
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
if redis.call('GET', KEYS[2]) == ARGV[2] then
  redis.call('DEL', KEYS[2])
end
return {'forgotten'}
