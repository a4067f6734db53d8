"""Lua scripts: the steps on a Redis bank that have to be atomic. Each is one call of EVAL.

A script's first write must be one that Redis allows beyond `maxmemory`: pruning must work on a full server.
"""

from typing import Final

# KEYS release, history; ARGV name, history length. 1 = done, 0 = no such release.
ACTIVATE: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('LINDEX', KEYS[2], 0) == ARGV[1] then return 1 end
redis.call('LREM', KEYS[2], 0, ARGV[1])
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.call('LTRIM', KEYS[2], 0, tonumber(ARGV[2]) - 1)
return 1
"""

# KEYS history. The release that is active afterwards, or false if there is none to go back to.
ROLLBACK: Final = """
if redis.call('LLEN', KEYS[1]) < 2 then return false end
redis.call('LPOP', KEYS[1])
return redis.call('LINDEX', KEYS[1], 0)
"""

# KEYS lock; ARGV staging, milliseconds. 1 = still ours, 0 = lost.
RENEW: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

# KEYS lock; ARGV staging.
UNLOCK: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""

# KEYS lock, release, releases, stagings, history; ARGV name, staging, time, then the metadata's pairs.
# The records of a release of that name become stale. Answers 'done', 'lost' or 'active'.
COMPLETE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 'lost' end
if redis.call('LINDEX', KEYS[5], 0) == ARGV[1] and redis.call('EXISTS', KEYS[2]) == 1 then return 'active' end
local old = redis.call('HMGET', KEYS[2], 'attempt', 'buckets')
redis.call('HDEL', KEYS[4], ARGV[2])
if old[1] then redis.call('HSET', KEYS[4], old[1], ARGV[1] .. ' ' .. old[2] .. ' ' .. ARGV[3]) end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], unpack(ARGV, 4))
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[1])
return 'done'
"""

# KEYS release, releases, stagings, history; ARGV name, releases to keep behind the active one, time.
# The release is gone for readers, its records are stale. 1 = done, 0 = it is kept.
RETIRE: Final = """
local kept = redis.call('LRANGE', KEYS[4], 0, ARGV[2])
if #kept == 0 then return 0 end
for _, name in ipairs(kept) do if name == ARGV[1] then return 0 end end
local old = redis.call('HMGET', KEYS[1], 'attempt', 'buckets')
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('LREM', KEYS[4], 0, ARGV[1])
if not old[1] then return 0 end
redis.call('HSET', KEYS[3], old[1], ARGV[1] .. ' ' .. old[2] .. ' ' .. ARGV[3])
redis.call('DEL', KEYS[1])
return 1
"""

# KEYS stagings, lock; ARGV staging. 1 = a stale staging whose publisher can never finish it: it lost the lock.
DEAD: Final = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 or redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
return 1
"""

# KEYS release; ARGV staging, users as they were read, users that were found, time. What was counted becomes what the
# release says. 1 = done, 0 = the number has changed since it was read, -1 = the release has been replaced.
SETTLE: Final = """
local held = redis.call('HMGET', KEYS[1], 'attempt', 'users')
if held[1] ~= ARGV[1] then return -1 end
if held[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'users', ARGV[3], 'updated', ARGV[4])
return 1
"""

# KEYS [release,] one bucket per record; ARGV staging or '', time, then a field and a value per record.
# With a staging the first key is the release, whose metadata changes in the same step; a cluster, where it
# lives elsewhere, passes ''. Answers {new users, 0}; or, with nothing written, {0, n}: the n-th record's
# place belongs to another user, {0, -1}: the release has been replaced. A record's bytes 2 to 5 are its tag.
UPSERT: Final = """
local skip = ARGV[1] == '' and 0 or 1
if skip == 1 and redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return {0, -1} end
local fresh = 0
for i = 1, #KEYS - skip do
  local old = redis.call('HGET', KEYS[i + skip], ARGV[2 * i + 1])
  if not old then fresh = fresh + 1
  elseif string.sub(old, 2, 5) ~= string.sub(ARGV[2 * i + 2], 2, 5) then return {0, i} end
end
for i = 1, #KEYS - skip do redis.call('HSET', KEYS[i + skip], ARGV[2 * i + 1], ARGV[2 * i + 2]) end
if skip == 1 then
  redis.call('HINCRBY', KEYS[1], 'users', fresh)
  if fresh > 0 then redis.call('HINCRBY', KEYS[1], 'folded_in', fresh) end
  redis.call('HSET', KEYS[1], 'updated', ARGV[2])
end
return {fresh, 0}
"""

# KEYS [release,] bucket; ARGV staging or '' as in UPSERT, field, tag, time. How many records were deleted: 0 where the
# place is another user's; -1: the release has been replaced.
FORGET: Final = """
local skip = ARGV[1] == '' and 0 or 1
if skip == 1 and redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return -1 end
local old, deleted = redis.call('HGET', KEYS[1 + skip], ARGV[2]), 0
if old and string.sub(old, 2, 5) == ARGV[3] then deleted = redis.call('HDEL', KEYS[1 + skip], ARGV[2]) end
if skip == 1 then
  redis.call('HINCRBY', KEYS[1], 'users', 0 - deleted)
  redis.call('HINCRBY', KEYS[1], 'forgotten', 1)
  redis.call('HSET', KEYS[1], 'updated', ARGV[4])
end
return deleted
"""

# What FORGET leaves to do on a cluster. KEYS release; ARGV staging, change of its number of users, time. 1 = done,
# 0 = the release has been replaced.
FORGOTTEN: Final = """
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] then return 0 end
redis.call('HINCRBY', KEYS[1], 'users', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'forgotten', 1)
redis.call('HSET', KEYS[1], 'updated', ARGV[3])
return 1
"""
