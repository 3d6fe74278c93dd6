-- Changes what is counted in place of a charge that has not come.
-- KEYS: epoch, counted, ended
-- ARGV: epoch, decision id, counted parts ("key number" a line, '' for none), ttl_ms of those
if is_lost(KEYS[1], ARGV[1]) then
  return {'lost'}
end
local before = redis.call('GET', KEYS[2])
if not before then
  note_ended(KEYS[3], ARGV[2], ARGV[3])
  return {'gone'}
end
redis.call('DEL', KEYS[2])
each_part(before, unspend_part)
count_in_place(KEYS[2], ARGV[3], ARGV[4])
return {'recounted'}
