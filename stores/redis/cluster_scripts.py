"""What processes that share the server tell each other: parts of scripts, and scripts (scripts.py).

Letters are commands on their way from one process to another (inbox.py), nodes the processes
(nodes.py).
"""

from __future__ import annotations

KEPT_SECONDS = 3_600
"""How long an answer waits for who asked, and a command for a process that is gone."""

LETTERS = """
local function answered(prefix, letter)
  return redis.call('EXISTS', prefix .. 'answered:' .. letter) == 1
end
local function answer(prefix, letter, body)
  redis.call('SET', prefix .. 'answered:' .. letter, '1', 'EX', KEPT)
  redis.call('RPUSH', prefix .. 'reply:' .. letter, body)
  redis.call('EXPIRE', prefix .. 'reply:' .. letter, KEPT)
end
local function first_answered(place)
  for i = place + 1, #ARGV, 2 do
    if answered(ARGV[place], ARGV[i]) then return ARGV[i] end
  end
end
local function answer_all(place)
  for i = place + 1, #ARGV, 2 do answer(ARGV[place], ARGV[i], ARGV[i + 1]) end
end
""".replace("KEPT", str(KEPT_SECONDS))
"""Functions for scripts that answer letters, behind those of ``scripts`` that look."""

_NODES = """
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'lost'} end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function text(number) return string.format('%.0f', number) end
"""

ANNOUNCE = (
    _NODES
    + """
redis.call('HSET', KEYS[2], ARGV[2], text(now + ARGV[3]) .. ':' .. ARGV[4])
local found, kept = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #found, 2 do
  if tonumber(string.match(found[i + 1], '^%d+')) < now - 86400000 then
    redis.call('HDEL', KEYS[2], found[i])
  else
    table.insert(kept, found[i])
    table.insert(kept, found[i + 1])
  end
end
return {'ok', text(now), kept}
"""
)

NODES = _NODES + "return {'ok', text(now), redis.call('HGETALL', KEYS[2])}"

HOLDER = (
    _NODES
    + """
local held = redis.call('HMGET', KEYS[2], 'node', 'holder', 'epoch', 'lease')
if not held[1] then return {'ok'} end
return {'ok', held[1], held[2], held[3], text(held[4] - now)}
"""
)

HELD = (
    _NODES
    + """
local holders = {}
for i = 2, #KEYS do
  local held = redis.call('HMGET', KEYS[i], 'node', 'lease')
  if held[1] and tonumber(held[2]) > now then table.insert(holders, held[1]) end
end
return {'ok', holders}
"""
)
