-- Ends a hold; what it held is free again, or counted in place of a charge that may still come.
-- KEYS: epoch, expiry, hold, counted, ended
-- ARGV: epoch, decision id, counted parts ("key number" a line, '' for none), ttl_ms of those
-- Answers: {'ended'} | {'gone'} | {'lost'}
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
redis.call('ZREM', KEYS[2], ARGV[2])
local parts = redis.call('GET', KEYS[3])
if not parts then
  note_ended(KEYS[5], ARGV[2], ARGV[3])
  return {'gone'}
end
redis.call('DEL', KEYS[3])
unhold(parts)
count_in_place(KEYS[4], ARGV[3], ARGV[4])
return {'ended'}
