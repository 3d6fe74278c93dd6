-- Fills opened counters with what a snapshot saw, less what they counted since that it saw too.
-- KEYS: epoch, counter...
-- ARGV: epoch, for each counter "limit cap spent frac ttl_ms", then the commits that it saw
-- Answers: {'filled'} | {'lost'}
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
for i = 2, #KEYS do
  local key = KEYS[i]
  if redis.call('HGET', key, 'ready') == '0' then
    local since = key .. ':since'
    for j = #KEYS + 1, #ARGV do
      local amount = redis.call('HGET', since, ARGV[j])
      if amount then
        local number, frac = string.match(amount, '(%S+) (%S+)')
        -- Less a fraction is less one whole, plus the rest of it.
        spend(key, negated(number), '0')
        if frac ~= '0' then
          spend(key, '-1', string.format('%.0f', FRACTIONS - tonumber(frac)))
        end
      end
    end
    redis.call('DEL', since)
    local limit, cap, spent, frac, ttl_ms = string.match(
      ARGV[i], '(%S+) (%S+) (%S+) (%S+) (%S+)')
    spend(key, spent, frac)
    redis.call('HSET', key, 'limit', limit, 'cap', cap)
    add(key, 'left', limit)
    redis.call('HSET', key, 'ready', 1)
    redis.call('PEXPIRE', key, ttl_ms)
  end
end
return {'filled'}
