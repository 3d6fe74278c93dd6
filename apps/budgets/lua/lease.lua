-- Sets a share of what is left aside in every counter, or in none.
-- KEYS: epoch, expiry, request, hold, the router's leases, counter...
-- ARGV: epoch, expires_ms, ttl_ms, lease id, routers, percent of what is left that all of them may
--   hold, percent of the limit that must be left, the most of usd, tokens and requests that is
--   wanted ('' for as much as there is), then the unit of each counter (1 usd, 2 tokens, 3 requests)
-- Answers: {'leased', usd, tokens, requests} ('' where no cap bounds and nothing is wanted)
--   | {'seen', lease id} | {'unready', place} | {'lost'}
--   | {'refused', place, limit, spent, held, place, limit, spent, held, ...}
local MOST = 1e15  -- Lua reckons exactly with what is below 2^53
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
local seen = redis.call('GET', KEYS[3])
if seen then
  return {'seen', seen}
end
for i = 6, #KEYS do
  if redis.call('HGET', KEYS[i], 'ready') ~= '1' then
    return {'unready', i - 5}
  end
end
-- What this router has and has not spent yet, by counter.
local has = {}
local holds = string.sub(KEYS[4], 1, -(#ARGV[4] + 1))
local counteds = string.sub(holds, 1, -6) .. 'counted:'
for _, lease in ipairs(redis.call('SMEMBERS', KEYS[5])) do
  local parts = redis.call('GET', holds .. lease) or redis.call('GET', counteds .. lease)
  if parts then
    for key, number in string.gmatch(parts, '(%S+) (%d+)') do
      has[key] = (has[key] or 0) + tonumber(number)
    end
  else
    redis.call('SREM', KEYS[5], lease)
  end
end
local grants = {}
for unit = 1, 3 do
  local most = ARGV[7 + unit]
  if most ~= '' then
    grants[unit] = math.min(tonumber(most), MOST)
  end
end
local refused = {'refused'}
for i = 6, #KEYS do
  local unit = tonumber(ARGV[5 + i])
  local counter = redis.call('HMGET', KEYS[i], 'limit', 'spent', 'held', 'left', 'cap')
  if counter[5] == '1' then
    local limit, left = tonumber(counter[1]), tonumber(counter[4])
    local share = math.floor(left * tonumber(ARGV[6]) / 100 / tonumber(ARGV[5])) - (has[KEYS[i]] or 0)
    if left * 100 <= limit * tonumber(ARGV[7]) or share < 1 then
      for _, value in ipairs({i - 5, counter[1], counter[2], counter[3]}) do
        refused[#refused + 1] = value
      end
    end
    grants[unit] = math.min(grants[unit] or MOST, share)
  end
end
if #refused > 1 then
  return refused
end
local parts = {}
for i = 6, #KEYS do
  local amount = string.format('%.0f', grants[tonumber(ARGV[5 + i])] or 0)
  add(KEYS[i], 'held', amount)
  add(KEYS[i], 'left', negated(amount))
  parts[#parts + 1] = KEYS[i] .. ' ' .. amount
end
redis.call('SET', KEYS[4], table.concat(parts, '\n'))
redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[4])
redis.call('SADD', KEYS[5], ARGV[4])
redis.call('PEXPIRE', KEYS[5], ARGV[3])
local answer = {'leased'}
for unit = 1, 3 do
  answer[1 + unit] = grants[unit] and string.format('%.0f', grants[unit]) or ''
end
return answer
