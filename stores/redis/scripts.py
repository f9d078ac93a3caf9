"""What happens on the server: Lua scripts, each of which is atomic and fenced.

Keys of a session, behind the store's prefix::

    s:ID   hash    epoch, node, holder, lease (ms), head, oldest, life, modified, info,
                   snapshot_seq, snapshot; stays as a tombstone when the session is deleted
    l:ID   stream  the events, with ids SEQ-0: t type, b body, r run id
    r:ID   hash    s:RUN seq of its request, e:RUN seq of its end
    k:ID   hash    idempotency key -> SEQ:RUN
    c:ID   hash    cursor name -> seq

of commands on their way from one process to another (see inbox.py): ``inbox:NODE``, ``doing:NODE``
and ``reply:LETTER`` (lists), and ``answered:LETTER``, which is there as soon as one has its answer;

and of the store: ``meta`` (hash: id, format, and the counters epoch and change), ``sessions``
(sorted set: id by its last change) and ``nodes`` (hash: see nodes.py). The epoch counts over all
sessions, so that one that expired does not begin anew.

A script answers with a list that begins with a word: ``ok``, or why it did nothing. ``lost``: the
store is not the one that was opened, or is gone. ``damaged``: a part of the session is gone.
"""

from __future__ import annotations

import hashlib

from .cluster_scripts import ANNOUNCE, HELD, HOLDER, LETTERS, NODES

FORMAT = 1
SCAN_RECORDS_MAX = 5_000
"""Records that one page looks at, while the server does nothing else: 5 ms."""

_BEGIN = """
local meta, session, log, runs, keys, cursors, sessions = unpack(KEYS)
if redis.call('HGET', meta, 'id') ~= ARGV[1] then return {'lost'} end
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function text(number) return string.format('%.0f', number) end
local function id(seq) return text(seq) .. '-0' end
local function given(word) if word == '' then return nil end return string.sub(word, 2) end
local function facts()
  local f = redis.call('HMGET', session, 'epoch', 'head', 'oldest', 'info')
  return f[1], tonumber(f[2] or '0'), tonumber(f[3] or '1'), f[4]
end
local function whole(head, oldest, info)
  if info then return redis.call('XLEN', log) == head - oldest + 1 end
  return redis.call('EXISTS', log) == 0
end
"""

_FENCE = """
local epoch, head, oldest, info = facts()
if epoch ~= ARGV[2] then return {'stale', epoch or '', text(head), info and 1 or 0} end
if not whole(head, oldest, info) then return {'damaged', text(head)} end
"""

ANSWER = (
    _BEGIN
    + LETTERS
    + """
if not answered(ARGV[2], ARGV[3]) then answer(ARGV[2], ARGV[3], ARGV[4]) end
return {'ok'}
"""
)

OPEN = """
local found = redis.call('HMGET', KEYS[1], 'id', 'format')
if not found[1] then
  if ARGV[1] == '' then return {'none'} end
  redis.call('HSET', KEYS[1], 'id', ARGV[1], 'format', ARGV[2])
  return {'ok', ARGV[1], ARGV[2]}
end
return {'ok', found[1], found[2]}
"""

CLAIM = (
    _BEGIN
    + """
local name, node, holder, lease, expires = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local held = redis.call('HMGET', session, 'node', 'holder', 'lease')
if held[1] and held[1] ~= node and tonumber(held[3]) > now() then return {'held', held[2]} end
local epoch, head, oldest, info = facts()
local listed = redis.call('ZSCORE', sessions, name)
if listed and not info and expires == '0' then return {'damaged', text(head)} end
if not whole(head, oldest, info) then return {'damaged', text(head)} end
epoch = redis.call('HINCRBY', meta, 'epoch', 1)
redis.call('HSET', session, 'epoch', epoch, 'node', node, 'holder', holder,
  'lease', text(now() + lease))
if expires ~= '0' and not info and head == 0 then redis.call('PEXPIRE', session, expires) end
local more = redis.call('HMGET', session, 'modified', 'snapshot_seq', 'snapshot')
return {'ok', text(epoch), text(head), text(oldest), info, more[1], more[2], more[3]}
"""
)

RENEW = """
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'lost'} end
local t = redis.call('TIME')
local lease = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[2])
local over = {}
for i = 2, #KEYS do
  if redis.call('HGET', KEYS[i], 'epoch') == ARGV[i + 1] then
    redis.call('HSET', KEYS[i], 'lease', lease)
  else
    table.insert(over, i - 2)
  end
end
return {'ok', over}
"""

RELEASE = (
    _BEGIN
    + """
if redis.call('HGET', session, 'epoch') == ARGV[2] then
  redis.call('HDEL', session, 'epoch', 'node', 'holder', 'lease')
  if redis.call('HEXISTS', session, 'head') == 0 then redis.call('DEL', session) end
end
return {'ok'}
"""
)

APPEND = (
    _BEGIN
    + LETTERS
    + _FENCE
    + """
local name, expected, count = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local new_info, modified, expires = ARGV[6], ARGV[7], tonumber(ARGV[8])
if expected ~= head + 1 then return {'moved', text(head)} end
if not info and new_info == '' then return {'new'} end
local letters = 11 + count * 4
local done = first_answered(letters)
if done then return {'answered', done} end
if not info then redis.call('HSET', session, 'oldest', ARGV[4], 'life', text(head)) end
for i = 11, 10 + count * 4, 4 do
  head = head + 1
  local kind, run, key, body = ARGV[i], given(ARGV[i + 1]), given(ARGV[i + 2]), ARGV[i + 3]
  if run then
    redis.call('XADD', log, id(head), 't', kind, 'b', body, 'r', run)
    if key then redis.call('HSET', keys, key, text(head) .. ':' .. run) end
    if kind == 'run_submitted' then
      redis.call('HSET', runs, 's:' .. run, text(head))
      redis.call('HDEL', runs, 'e:' .. run)
    elseif kind == 'run_completed' or kind == 'run_failed' or kind == 'run_cancelled'
        or kind == 'run_timed_out' or kind == 'run_interrupted' then
      redis.call('HSET', runs, 'e:' .. run, text(head))
    end
  else
    redis.call('XADD', log, id(head), 't', kind, 'b', body)
  end
end
redis.call('HSET', session, 'head', text(head))
if modified ~= '' then redis.call('HSET', session, 'modified', modified) end
if new_info ~= '' then redis.call('HSET', session, 'info', new_info) end
redis.call('ZADD', sessions, redis.call('HINCRBY', meta, 'change', 1), name)
if expires > 0 then
  local at = text(now() + expires)
  for i = 2, 6 do redis.call('PEXPIREAT', KEYS[i], at) end
end
redis.call('PUBLISH', ARGV[9], ARGV[10])
answer_all(letters)
return {'ok', text(head)}
"""
)

SAVE_SNAPSHOT = (
    _BEGIN
    + _FENCE
    + """
if not info then return {'unknown'} end
if tonumber(ARGV[3]) > head then return {'ahead', text(head)} end
redis.call('HSET', session, 'snapshot_seq', ARGV[3], 'snapshot', ARGV[4])
return {'ok'}
"""
)

SAVE_CURSOR = (
    _BEGIN
    + """
local epoch, head, oldest, info = facts()
if not info then return {'unknown'} end
redis.call('HSET', cursors, ARGV[2], ARGV[3])
local left = redis.call('PTTL', session)
if left > 0 then redis.call('PEXPIRE', cursors, left) end
return {'ok'}
"""
)

TRIM = (
    _BEGIN
    + _FENCE
    + """
if not info then return {'unknown'} end
local before = math.min(tonumber(ARGV[3]), head + 1)
if before <= oldest then return {'ok'} end
local from = oldest
while from < before do
  local part = redis.call('XRANGE', log, id(from), id(before - 1), 'COUNT', 500)
  if #part == 0 then break end
  for _, entry in ipairs(part) do
    local seq = tonumber(string.match(entry[1], '^%d+'))
    local kind, run = entry[2][2], entry[2][6]
    if run then
      for _, field in ipairs({'s:' .. run, 'e:' .. run}) do
        local at = redis.call('HGET', runs, field)
        if at and tonumber(at) < before then redis.call('HDEL', runs, field) end
      end
    end
    from = seq + 1
  end
end
redis.call('XTRIM', log, 'MINID', id(before))
redis.call('HSET', session, 'oldest', text(before))
local cursor = '0'
repeat
  local part = redis.call('HSCAN', keys, cursor, 'COUNT', 500)
  cursor = part[1]
  for i = 1, #part[2], 2 do
    if tonumber(string.match(part[2][i + 1], '^%d+')) < before then
      redis.call('HDEL', keys, part[2][i])
    end
  end
until cursor == '0'
return {'ok'}
"""
)

DELETE = (
    _BEGIN
    + LETTERS
    + _FENCE
    + """
local done = first_answered(6)
if done then return {'answered', done} end
answer_all(6)
redis.call('HDEL', session, 'epoch', 'node', 'holder', 'lease')
if not info then
  if redis.call('HEXISTS', session, 'head') == 0 then redis.call('DEL', session) end
  return {'ok'}
end
redis.call('DEL', log, runs, keys, cursors)
redis.call('HDEL', session, 'info', 'snapshot', 'snapshot_seq', 'modified', 'life')
redis.call('HSET', session, 'oldest', text(head + 1))
redis.call('ZREM', sessions, ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5])
return {'ok'}
"""
)

LOOK = (
    _BEGIN
    + """
local f = redis.call('HMGET', session, 'head', 'oldest', 'info', 'modified', 'node', 'holder',
  'lease')
local live = f[7] and tonumber(f[7]) > now()
local listed = redis.call('ZSCORE', sessions, ARGV[2])
if listed and not f[3] then
  if ARGV[3] == '0' then return {'damaged', f[1] or '0'} end
  redis.call('ZREM', sessions, ARGV[2])
end
local ended = ARGV[4] ~= '' and redis.call('HEXISTS', runs, 'e:' .. ARGV[4]) or 0
return {'ok', f[1] or '0', f[2] or '1', f[3], f[4], live and f[5], live and f[6], ended}
"""
)

PAGE = (
    _BEGIN
    + """
local epoch, head, oldest, info = facts()
if not info then
  if redis.call('ZSCORE', sessions, ARGV[2]) and ARGV[3] == '0' then
    return {'damaged', text(head)}
  end
  return {'unknown'}
end
if not whole(head, oldest, info) then return {'damaged', text(head)} end
local after, before, limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local backwards, run = ARGV[7] == '1', given(ARGV[8])
local scan, count = tonumber(ARGV[9]), 0
if after < oldest - 1 then
  if not backwards then return {'expired', text(oldest)} end
  after = oldest - 1
end
local low, high = after + 1, math.min(before - 1, head)
local types = nil
if #ARGV > 9 then
  types = {}
  for i = 10, #ARGV do types[ARGV[i]] = true end
end
if run then
  local s, e = redis.call('HGET', runs, 's:' .. run), redis.call('HGET', runs, 'e:' .. run)
  if s and tonumber(s) >= oldest then low = math.max(low, tonumber(s)) end
  if e and tonumber(e) >= oldest then high = math.min(high, tonumber(e)) end
end
local found, scanned = {}, backwards and high + 1 or low - 1
local from, to = low, high
while from <= to and #found < limit and count < scan do
  local want = math.min(500, scan - count)
  if not run and not types then want = math.min(want, limit - #found) end
  local part
  if backwards then part = redis.call('XREVRANGE', log, id(to), id(from), 'COUNT', want)
  else part = redis.call('XRANGE', log, id(from), id(to), 'COUNT', want) end
  if #part == 0 then break end
  for _, entry in ipairs(part) do
    local seq = tonumber(string.match(entry[1], '^%d+'))
    if #found == limit then break end
    count = count + 1
    scanned = seq
    local fields = entry[2]
    if (not types or types[fields[2]]) and (not run or fields[6] == run) then
      table.insert(found, {text(seq), fields[4]})
    end
    if backwards then to = seq - 1 else from = seq + 1 end
  end
end
if from > to then
  if backwards then scanned = math.min(low, scanned) else scanned = math.max(scanned, high) end
  if run then
    if backwards then scanned = math.min(scanned, after + 1)
    else scanned = math.max(scanned, math.min(before - 1, head)) end
  end
end
return {'ok', text(head), text(oldest), info, text(scanned), found}
"""
)

FIND = (
    _BEGIN
    + """
local epoch, head, oldest, info = facts()
if not info then return {'unknown'} end
if ARGV[2] == 'key' then
  local found = redis.call('HGET', keys, ARGV[3])
  if not found then return {'ok'} end
  local seq, run = string.match(found, '^(%d+):(.*)$')
  if tonumber(seq) < oldest then return {'ok'} end
  return {'ok', run}
elseif ARGV[2] == 'cursor' then
  return {'ok', redis.call('HGET', cursors, ARGV[3])}
elseif ARGV[2] == 'cursors' then
  return {'ok', redis.call('HGETALL', cursors)}
elseif ARGV[2] == 'snapshot' then
  local f = redis.call('HMGET', session, 'snapshot_seq', 'snapshot')
  return {'ok', f[1], f[2]}
end
local s, e = redis.call('HGET', runs, 's:' .. ARGV[3]), redis.call('HGET', runs, 'e:' .. ARGV[3])
if not s or tonumber(s) < oldest then return {'ok'} end
local answer = {'ok', text(head)}
for _, seq in ipairs({s, e or nil}) do
  local entry = redis.call('XRANGE', log, seq .. '-0', seq .. '-0')[1]
  if not entry then return {'damaged', text(head)} end
  table.insert(answer, {seq, entry[2][4]})
end
return answer
"""
)

SCRIPTS: dict[str, str] = {
    "announce": ANNOUNCE,
    "nodes": NODES,
    "held": HELD,
    "holder": HOLDER,
    "open": OPEN,
    "claim": CLAIM,
    "renew": RENEW,
    "release": RELEASE,
    "append": APPEND,
    "save_snapshot": SAVE_SNAPSHOT,
    "save_cursor": SAVE_CURSOR,
    "trim": TRIM,
    "delete": DELETE,
    "look": LOOK,
    "page": PAGE,
    "find": FIND,
    "answer": ANSWER,
}


def sha_of(script: str) -> str:
    """The name by which the server knows a script."""
    return hashlib.sha1(script.encode()).hexdigest()


SHAS: dict[str, str] = {name: sha_of(script) for name, script in SCRIPTS.items()}
