-- What commits took of leases that are not put back yet: forgotten where a snapshot saw it.
-- KEYS: epoch, ended
-- ARGV: epoch, fields
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
for i = 2, #ARGV do
  redis.call('HDEL', KEYS[2], ARGV[i])
end
return {'forgotten'}
