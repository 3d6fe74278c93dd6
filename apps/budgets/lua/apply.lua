-- Counts a commit's charges, once, ends the holds that they settle, and takes from leases what they
-- were spent under.
-- KEYS: epoch, expiry, applied, folded, ended, then hold and counted of each decision and of each
--   lease, then counters
-- ARGV: epoch, commit, number of decisions, number of leases, decision ids, lease ids, what is taken
--   of each lease ("key number" a line), then "number frac" of each counter
-- Answers: {'applied'} | {'again'} | {'lost'}
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
if redis.call('ZSCORE', KEYS[4], ARGV[2]) or redis.call('SADD', KEYS[3], ARGV[2]) == 0 then
  return {'again'}
end
local decisions, leases = tonumber(ARGV[3]), tonumber(ARGV[4])
local at = 5
for i = 1, decisions do
  local decision, hold, counted = ARGV[4 + i], KEYS[at + 1], KEYS[at + 2]
  at = at + 2
  local parts = redis.call('GET', hold)
  if parts then
    redis.call('DEL', hold)
    unhold(parts)
  else
    local stood_in = redis.call('GET', counted)
    if stood_in then
      redis.call('DEL', counted)
      each_part(stood_in, unspend_part)
    else
      note_ended(KEYS[5], decision, 'charged')
    end
  end
  redis.call('ZREM', KEYS[2], decision)
end
for i = 1, leases do
  local lease, taken = ARGV[4 + decisions + i], ARGV[4 + decisions + leases + i]
  local hold, counted = KEYS[at + 1], KEYS[at + 2]
  at = at + 2
  local parts = redis.call('GET', hold)
  local stood_in = not parts and redis.call('GET', counted)
  if parts then
    redis.call('SET', hold, without(parts, taken, unhold_part))
  elseif stood_in then
    redis.call('SET', counted, without(stood_in, taken, unspend_part), 'KEEPTTL')
  elseif redis.call('EXISTS', KEYS[5]) == 1 then
    redis.call('HSET', KEYS[5], 'take:' .. ARGV[2] .. ':' .. lease, taken)
  end
end
local first = 4 + decisions + 2 * leases - at
for i = at + 1, #KEYS do
  local ready = redis.call('HGET', KEYS[i], 'ready')
  if ready then
    local amount = ARGV[first + i]
    local number, frac = string.match(amount, '(%S+) (%S+)')
    spend(KEYS[i], number, frac)
    if ready == '0' then
      -- What the snapshot also saw is taken back when the counter is filled.
      redis.call('HSET', KEYS[i] .. ':since', ARGV[2], amount)
    end
  end
end
return {'applied'}
