-- Sets an amount aside in every counter, or in none.
-- KEYS: epoch, expiry, request, hold, counter...
-- ARGV: epoch, expires_ms, ttl_ms, decision id, amount...
-- Answers: {'held'} | {'seen', decision id} | {'unready', place} | {'lost'}
--   | {'refused', place, limit, spent, held, place, limit, spent, held, ...}
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
local seen = redis.call('GET', KEYS[3])
if seen then
  return {'seen', seen}
end
for i = 5, #KEYS do
  if redis.call('HGET', KEYS[i], 'ready') ~= '1' then
    return {'unready', i - 4}
  end
end
local refused = {'refused'}
for i = 5, #KEYS do
  local amount = ARGV[i]
  if amount ~= '0' then
    local left = redis.call('HINCRBY', KEYS[i], 'left', negated(amount))
    if left < 0 and redis.call('HGET', KEYS[i], 'cap') == '1' then
      local counter = redis.call('HMGET', KEYS[i], 'limit', 'spent', 'held')
      for _, value in ipairs({i - 4, counter[1], counter[2], counter[3]}) do
        refused[#refused + 1] = value
      end
    end
  end
end
if #refused > 1 then
  for i = 5, #KEYS do
    add(KEYS[i], 'left', ARGV[i])
  end
  return refused
end
local parts = {}
for i = 5, #KEYS do
  add(KEYS[i], 'held', ARGV[i])
  parts[#parts + 1] = KEYS[i] .. ' ' .. ARGV[i]
end
redis.call('SET', KEYS[4], table.concat(parts, '\n'))
redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[4])
return {'held'}
