-- Sets amounts aside for many requests, one after the other: of each in every counter, or in none.
-- KEYS: epoch, expiry, the counters (each once), then request and hold of each reservation
-- ARGV: epoch, how many counters, then of each reservation
--   "expires_ms ttl_ms decision_id place count place count ..." (place: of a counter, from 1)
-- Answers: 'lost', or a line for each reservation:
--   held | seen <decision id> | unready <place> | refused <place> <limit> <spent> <held> ...
if is_lost(KEYS[1], ARGV[1]) then
  return 'lost'
end
local counters = tonumber(ARGV[2])
local ready, cap = {}, {}
for place = 1, counters do
  local found = redis.call('HMGET', KEYS[2 + place], 'ready', 'cap')
  ready[place], cap[place] = found[1] == '1', found[2] == '1'
end

local function take(wanted, refused)
  for _, each in ipairs(wanted) do
    local place, count = each[1], each[2]
    if count ~= '0' then
      local key = KEYS[2 + place]
      local left = redis.call('HINCRBY', key, 'left', negated(count))
      if left < 0 and cap[place] then
        local is = redis.call('HMGET', key, 'limit', 'spent', 'held')
        refused[#refused + 1] = table.concat({place, is[1], is[2], is[3]}, ' ')
      end
    end
  end
end

local expiring = {}

local function reserve(request, hold, line)
  local expires_ms, ttl_ms, decision, amounts = string.match(line, '^(%S+) (%S+) (%S+)(.*)$')
  local wanted = {}
  for place, count in string.gmatch(amounts, '(%d+) (%d+)') do
    wanted[#wanted + 1] = {tonumber(place), count}
    if not ready[tonumber(place)] then
      local seen = redis.call('GET', request)
      return seen and 'seen ' .. seen or 'unready ' .. place
    end
  end
  if not redis.call('SET', request, decision, 'NX', 'PX', ttl_ms) then
    return 'seen ' .. redis.call('GET', request)
  end
  local refused = {}
  take(wanted, refused)
  if #refused > 0 then
    for _, each in ipairs(wanted) do
      add(KEYS[2 + each[1]], 'left', each[2])
    end
    redis.call('DEL', request)
    return 'refused ' .. table.concat(refused, ' ')
  end
  local parts = {}
  for n, each in ipairs(wanted) do
    local key = KEYS[2 + each[1]]
    add(key, 'held', each[2])
    parts[n] = key .. ' ' .. each[2]
  end
  redis.call('SET', hold, table.concat(parts, '\n'))
  expiring[#expiring + 1] = expires_ms
  expiring[#expiring + 1] = decision
  return 'held'
end

local answers = {}
for n = 1, #ARGV - 2 do
  local at = 2 + counters + 2 * n
  answers[n] = reserve(KEYS[at - 1], KEYS[at], ARGV[2 + n])
end
if #expiring > 0 then
  redis.call('ZADD', KEYS[2], unpack(expiring))
end
return table.concat(answers, '\n')
