-- Shared by every script; put before it. All keys of a tenant stand in one slot and begin with
-- "costboard:{b<tenant>}:". Numbers come as decimal strings and are added by HINCRBY, because a Lua
-- number is exact only to 2^53; Lua sees the sign of a sum and the fraction, which is below 2^53.
--
-- A counter is a hash: limit, spent, held, left = limit - spent - held, frac (what was spent below
-- one billionth of a dollar, in 1e-24 dollars, less than 1e15; then spent has been rounded up by
-- one), cap (1: left may not fall below 0 by a reservation), ready (0 while it is being filled).
local FRACTIONS = 1e15

local function negated(number)
  if string.sub(number, 1, 1) == '-' then
    return string.sub(number, 2)
  end
  return '-' .. number
end

local function add(key, field, number)
  if number ~= '0' and number ~= '-0' then
    redis.call('HINCRBY', key, field, number)
  end
end

-- number: whole counts (may be negative); frac: 0 <= frac < 1e15, on top of them.
local function spend(key, number, frac)
  local before = tonumber(redis.call('HGET', key, 'frac') or '0')
  local after = before + tonumber(frac)
  local up = 0
  if after >= FRACTIONS then
    after = after - FRACTIONS
    up = 1
  end
  -- Rounded up: one more count while there is a fraction.
  if after > 0 then up = up + 1 end
  if before > 0 then up = up - 1 end
  redis.call('HSET', key, 'frac', string.format('%.0f', after))
  add(key, 'spent', number)
  add(key, 'left', negated(number))
  if up ~= 0 then
    redis.call('HINCRBY', key, 'spent', up)
    redis.call('HINCRBY', key, 'left', -up)
  end
end

local function each_part(parts, visit)
  for key, number in string.gmatch(parts, '(%S+) (%d+)') do
    if redis.call('EXISTS', key) == 1 then
      visit(key, number)
    end
  end
end

local function unhold_part(key, number)
  add(key, 'held', negated(number))
  add(key, 'left', number)
end

local function unspend_part(key, number)
  spend(key, negated(number), '0')
end

local function unhold(parts)
  each_part(parts, unhold_part)
end

-- While counters are being filled, what becomes of holds that are not put back yet is noted in a
-- hash: 'charged', or what is counted in their place from now on ('' for nothing). The snapshot may
-- show them as they were before. A charge is the last word.
local function note_ended(ended_key, decision, how)
  if redis.call('EXISTS', ended_key) == 1
      and redis.call('HGET', ended_key, decision) ~= 'charged' then
    redis.call('HSET', ended_key, decision, how)
  end
end

local function count_in_place(counted_key, parts, ttl_ms)
  if parts ~= '' then
    redis.call('SET', counted_key, parts, 'PX', ttl_ms)
    each_part(parts, function(key, number) spend(key, number, '0') end)
  end
end

-- Parts less what is taken of each, never below nothing; `visit` hears how much of which was taken.
-- For leases only: their numbers are small enough for Lua to reckon with.
local function without(parts, taken, visit)
  local takes = {}
  for key, number in string.gmatch(taken, '(%S+) (%d+)') do
    takes[key] = tonumber(number)
  end
  local lines = {}
  for key, number in string.gmatch(parts, '(%S+) (%d+)') do
    local is = tonumber(number)
    local take = math.min(is, takes[key] or 0)
    lines[#lines + 1] = string.format('%s %.0f', key, is - take)
    if take > 0 and redis.call('EXISTS', key) == 1 then
      visit(key, string.format('%.0f', take))
    end
  end
  return table.concat(lines, '\n')
end

local function is_lost(epoch_key, epoch)
  return redis.call('GET', epoch_key) ~= epoch
end
