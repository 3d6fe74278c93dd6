-- Counts a commit's charges, once, and ends the holds that they settle.
-- KEYS: epoch, expiry, applied, folded, ended, then hold and counted of each decision, then counters
-- ARGV: epoch, commit, number of decisions, decision ids, then "number frac" of each counter
-- Answers: {'applied'} | {'again'} | {'lost'}
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
if redis.call('ZSCORE', KEYS[4], ARGV[2]) or redis.call('SADD', KEYS[3], ARGV[2]) == 0 then
  return {'again'}
end
local decisions = tonumber(ARGV[3])
local at = 5
for i = 1, decisions do
  local decision, hold, counted = ARGV[3 + i], KEYS[at + 1], KEYS[at + 2]
  at = at + 2
  local parts = redis.call('GET', hold)
  if parts then
    redis.call('DEL', hold)
    unhold(parts)
  else
    local stood_in = redis.call('GET', counted)
    if stood_in then
      redis.call('DEL', counted)
      each_part(stood_in, function(key, number) spend(key, negated(number), '0') end)
    else
      note_ended(KEYS[5], decision, 'charged')
    end
  end
  redis.call('ZREM', KEYS[2], decision)
end
for i = at + 1, #KEYS do
  local ready = redis.call('HGET', KEYS[i], 'ready')
  if ready then
    local amount = ARGV[3 + decisions + i - at]
    local number, frac = string.match(amount, '(%S+) (%S+)')
    spend(KEYS[i], number, frac)
    if ready == '0' then
      -- What the snapshot also saw is taken back when the counter is filled.
      redis.call('HSET', KEYS[i] .. ':since', ARGV[2], amount)
    end
  end
end
return {'applied'}
