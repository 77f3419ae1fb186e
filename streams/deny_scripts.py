"""The Lua of the deny rules: each change in one step, whoever changes them at the same time.

KEYS of ADD and REMOVE: rules, version, audit. Of EXPAND and RELEASE: deny, why, rules; small batches, so that
Redis answers others in between. WITHDRAW_VALUE and WITHDRAW_LIST replace a value only if it is still the one
that was read; its time to live stays.
"""

from __future__ import annotations

from typing import Final

HAND: Final = "hand"  # among the ids of a query that people had denied by hand before a rule did

ADD: Final = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then return 0 end
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return -1 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('XADD', KEYS[3], '*', 'record', ARGV[3])
return redis.call('INCR', KEYS[2])
"""
REMOVE: Final = """
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[3], '*', 'record', ARGV[2])
return redis.call('INCR', KEYS[2])
"""
# ARGV: a query, then the ids of its rules with spaces between, and so on.
EXPAND: Final = f"""
local added = 0
for place = 1, #ARGV, 2 do
  local query, live = ARGV[place], {{}}
  for id in string.gmatch(ARGV[place + 1], '%S+') do
    if redis.call('HEXISTS', KEYS[3], id) == 1 then table.insert(live, id) end
  end
  if #live > 0 then
    local new = redis.call('SADD', KEYS[1], query)
    local had = redis.call('HGET', KEYS[2], query)
    local why = had or (new == 0 and '{HAND}' or '')
    for _, id in ipairs(live) do
      if not string.find(' ' .. why .. ' ', ' ' .. id .. ' ', 1, true) then
        why = why == '' and id or why .. ' ' .. id
      end
    end
    if why ~= had then redis.call('HSET', KEYS[2], query, why) end
    added = added + new
  end
end
return added
"""
RELEASE: Final = f"""
local gone = 0
for _, query in ipairs(ARGV) do
  local why, kept = redis.call('HGET', KEYS[2], query) or '', {{}}
  for id in string.gmatch(why, '%S+') do
    if id == '{HAND}' or redis.call('HEXISTS', KEYS[3], id) == 1 then table.insert(kept, id) end
  end
  local left = table.concat(kept, ' ')
  if left == '' and why ~= '' then gone = gone + redis.call('SREM', KEYS[1], query) end
  if left == '' or left == '{HAND}' then redis.call('HDEL', KEYS[2], query)
  elseif left ~= why then redis.call('HSET', KEYS[2], query, left) end
end
return gone
"""
SWEPT: Final = """
local swept = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) > swept then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
"""
WITHDRAW_VALUE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
return 1
"""
# ARGV: a value of the list, what it becomes, and so on. How many were still there.
WITHDRAW_LIST: Final = """
local done = 0
local values = redis.call('LRANGE', KEYS[1], 0, -1)
for pair = 1, #ARGV, 2 do
  for place, value in ipairs(values) do
    if value == ARGV[pair] then
      redis.call('LSET', KEYS[1], place - 1, ARGV[pair + 1])
      done = done + 1
      break
    end
  end
end
return done
"""
