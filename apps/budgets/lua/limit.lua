-- Sets what counters allow, and whether they refuse.
-- KEYS: epoch, counter...
-- ARGV: epoch, "limit cap" of each counter
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
for i = 2, #KEYS do
  if redis.call('HGET', KEYS[i], 'ready') == '1' then
    local limit, cap = string.match(ARGV[i], '(%S+) (%S+)')
    local before = redis.call('HGET', KEYS[i], 'limit')
    if before ~= limit then
      add(KEYS[i], 'left', limit)
      add(KEYS[i], 'left', negated(before))
      redis.call('HSET', KEYS[i], 'limit', limit)
    end
    redis.call('HSET', KEYS[i], 'cap', cap)
  end
end
return {'set'}
