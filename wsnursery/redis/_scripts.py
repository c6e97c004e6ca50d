"""The Lua scripts, each of which Redis runs as one step, and the names of their keys.

A room ``NAME`` has these keys, all of which expire when the room is not used for a while:

==================  ==============================================================================
``…{NAME}:m``       a hash: the epoch ``e``, the number ``n`` of the newest message, the identity
                    ``i`` of the server that has given it, the bytes ``b`` of the history, and the
                    ends ``p`` of older epochs
``…{NAME}:h``       a list: the newest messages, of which the last one has the number ``n``
``…{NAME}:o:FROM``  the last message of one publisher, so that a retry is not published twice
``…{NAME}:c:FROM``  the position of one confirmed message, for the answer to its retry
``…{NAME}:p``       a hash: who is present, as the worker and the metadata
``…w``              a sorted set: when the lease of each worker ends
``…w:WORKER``       a set: the rooms in which a worker has announced people
==================  ==============================================================================

``…{NAME}`` is the channel of the room as well. It carries ``m`` messages, ``j`` people that have
joined, and ``l`` people that have left. Messages are the epoch, the number of the first one and the
length of each, as in ``mEPOCH 7 3 4:onefour``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OLDER_EPOCHS: Final = 16
"""The number of older epochs whose end a room keeps. A worker that was away for more forks is
notified of a gap of unknown size."""

SLACK: Final = 0.25
"""The share of the history by which more messages are kept than wanted. Removing many messages at a
time costs Redis less than removing one with each publish."""

# The fork rule. If another server has assigned the last number, this one may lack some of its
# messages, because its data was restored from a file or replicated with a lag. So the numbers
# continue in a new epoch, and Redis records up to which number the old epoch is the same sequence.
# The script reads the server's identity itself, because a client's knowledge of it may be old.
_CURRENT = f"""
local function current(meta, history, new)
  local v = redis.call('HMGET', meta, 'e', 'i', 'n', 'b', 'p')
  local epoch, number, bytes, ends = v[1], tonumber(v[3] or '0'), tonumber(v[4] or '0'), v[5] or ''
  local here = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  if epoch and v[2] == here then return epoch, number, bytes, ends end
  if epoch then
    local known = {{epoch .. ' ' .. number}}
    for older, last in string.gmatch(ends, '(%S+) (%d+)') do
      if #known < {OLDER_EPOCHS} then
        table.insert(known, older .. ' ' .. math.min(tonumber(last), number))
      end
    end
    ends = table.concat(known, ' ')
  else
    redis.call('DEL', history)
  end
  redis.call('HSET', meta, 'e', new, 'i', here, 'n', number, 'b', bytes, 'p', ends)
  return new, number, bytes, ends
end
"""

PUBLISH: Final = (
    _CURRENT
    + f"""
local meta, history, publisher = KEYS[1], KEYS[2], KEYS[3]
local channel, new, ttl = ARGV[1], ARGV[2], ARGV[5]
local most, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])
local place, previous, confirmed = tonumber(ARGV[6]), ARGV[7], ARGV[8]
local last = redis.call('GET', publisher)
local count = #ARGV - 8
local done = last and math.max(0, tonumber(last) - place + 1) or 0
if done == 0 and previous ~= '' and previous ~= last then
  return redis.error_reply('ORDER the message before this one has not been numbered')
end
local epoch, number, bytes
if done < count then
  epoch, number, bytes = current(meta, history, new)
  local lengths, added = {{}}, 0
  for index = 9 + done, #ARGV do
    table.insert(lengths, #ARGV[index])
    added = added + #ARGV[index]
  end
  if most > 0 then
    local kept = redis.call('RPUSH', history, unpack(ARGV, 9 + done))
    bytes = kept == #lengths and added or bytes + added
    if kept > most * {1 + SLACK} then
      for _, body in ipairs(redis.call('LPOP', history, kept - most)) do bytes = bytes - #body end
      kept = most
    end
    while bytes > most_bytes and kept > 0 do
      bytes = bytes - #redis.call('LPOP', history)
      kept = kept - 1
    end
    redis.call('EXPIRE', history, ttl)
  elseif bytes > 0 then
    redis.call('DEL', history)
    bytes = 0
  end
  redis.call('HSET', meta, 'n', number + #lengths, 'b', bytes)
  redis.call('EXPIRE', meta, ttl)
  redis.call('SET', publisher, place + count - 1, 'EX', ttl)
  -- In place of an argument that was read already, because every copy of the messages takes time.
  ARGV[8 + done] = 'm' .. epoch .. ' ' .. number + 1 .. ' ' .. table.concat(lengths, ' ') .. ':'
  redis.call('PUBLISH', channel, table.concat(ARGV, '', 8 + done))
end
local positions = {{}}
for index in string.gmatch(confirmed, '%d+') do
  local key = KEYS[4 + #positions]
  local position
  if tonumber(index) < done then
    position = redis.call('GET', key) or ''
  else
    position = epoch .. ' ' .. number + 1 + index - done
    redis.call('SET', key, position, 'EX', ttl)
  end
  table.insert(positions, position)
end
return positions"""
)
"""Number consecutive messages of one publisher, keep them, and push them to all workers that follow
the room. Return the positions of those that are confirmed. Messages of a retry that have a number
already get no other one.

``previous`` is the message of this publisher to this room that is in flight before the first one.
If that one has failed, these must fail too. If they were numbered first, the retry of the previous
one would look like a repetition.
"""

SYNCHRONIZE: Final = (
    _CURRENT
    + """
local meta, history, present, workers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local had_epoch, had, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local new, ttl, room, lease = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
local epoch, number, bytes, ends = current(meta, history, new)
for _, key in ipairs({meta, history, present}) do redis.call('EXPIRE', key, ttl) end
local since
if had_epoch == epoch then since = had end
for older, last in string.gmatch(ends, '(%S+) (%d+)') do
  if older == had_epoch then since = math.min(had, tonumber(last)) end
end
local count = math.min(most, redis.call('LLEN', history))
if since then count = math.min(count, number - since) end
local messages = {}
if count > 0 then messages = redis.call('LRANGE', history, -count, -1) end
local people, alive, all = {}, {}, redis.call('HGETALL', present)
if #all > 0 then
  local time = redis.call('TIME')
  local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
  for index = 1, #all, 2 do
    local worker = string.match(all[index + 1], '^%S+')
    if alive[worker] == nil then
      local ending = redis.call('ZSCORE', workers, worker)
      alive[worker] = not ending or tonumber(ending) > now
      if not ending then
        redis.call('ZADD', workers, now + lease, worker)
        local rooms = workers .. ':' .. worker
        redis.call('SADD', rooms, room)
        for _, key in ipairs({workers, rooms}) do redis.call('EXPIRE', key, ttl) end
      end
    end
    if alive[worker] then
      table.insert(people, all[index])
      table.insert(people, string.sub(all[index + 1], #worker + 2))
    end
  end
end
return {epoch, number, ends, messages, people}"""
)
"""Return the state of a room, for a worker that has the messages up to a position.

If the lease of a worker is missing, Redis has evicted it, because it is removed together with the
worker's people. The worker may live, so its people are included, and it gets a new lease. If it
does not renew this one, its people are removed.
"""

ANNOUNCE: Final = """
local present, rooms = KEYS[1], KEYS[2]
local worker, channel, room, ttl, push = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
for index = 6, #ARGV, 2 do
  redis.call('HSET', present, ARGV[index], worker .. ' ' .. ARGV[index + 1])
end
redis.call('EXPIRE', present, ttl)
redis.call('SADD', rooms, room)
redis.call('EXPIRE', rooms, ttl)
redis.call('PUBLISH', channel, push)"""
"""Announce people in a room."""

RETRACT: Final = """
local present, rooms = KEYS[1], KEYS[2]
local channel, room, push = ARGV[1], ARGV[2], ARGV[3]
local gone = 0
for index = 4, #ARGV do gone = gone + redis.call('HDEL', present, ARGV[index]) end
if room ~= '' then redis.call('SREM', rooms, room) end
if gone > 0 then redis.call('PUBLISH', channel, push) end"""
"""Retract people from a room. With ``room``, no person of this worker is left in it."""

LOOK: Final = """
local missing = {}
for index, present in ipairs(KEYS) do
  if redis.call('HEXISTS', present, ARGV[index]) == 0 then table.insert(missing, index - 1) end
end
return missing"""
"""Return the indexes of the rooms in which a given person is missing."""

BEAT: Final = """
local workers, own_rooms = KEYS[1], KEYS[2]
local worker, lease, prefix, ttl, retired = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
redis.call('ZADD', workers, now + lease, worker)
redis.call('EXPIRE', workers, ttl)
redis.call('EXPIRE', own_rooms, ttl)
if retired ~= '' then redis.call('ZADD', workers, 'XX', 0, retired) end
local dead = redis.call('ZRANGEBYSCORE', workers, '-inf', now, 'LIMIT', 0, 10)
for _, one in ipairs(dead) do
  for _, room in ipairs(redis.call('SMEMBERS', prefix .. 'w:' .. one)) do
    local channel = prefix .. '{' .. room .. '}'
    local present, gone = channel .. ':p', {}
    local all = redis.call('HGETALL', present)
    for index = 1, #all, 2 do
      if string.sub(all[index + 1], 1, #one + 1) == one .. ' ' then
        redis.call('HDEL', present, all[index])
        table.insert(gone, '"' .. all[index] .. '"')
      end
    end
    if #gone > 0 then redis.call('PUBLISH', channel, 'l[' .. table.concat(gone, ',') .. ']') end
  end
  redis.call('DEL', prefix .. 'w:' .. one)
  redis.call('ZREM', workers, one)
end
return #dead"""
"""Renew the lease of this worker, and remove the people of workers whose lease has ended. It uses
the clock of Redis, which is the same for all workers."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of keys and channels under one prefix."""

    prefix: str

    def channel(self, room: str) -> str:
        """The channel of a room, and the beginning of its keys."""
        return f"{self.prefix}{{{room}}}"

    def room_of(self, channel: str) -> str:
        """The room of a channel."""
        return channel[len(self.prefix) + 1 : -1]

    def meta(self, room: str) -> str:
        """The epoch and the number of a room."""
        return f"{self.channel(room)}:m"

    def history(self, room: str) -> str:
        """Its newest messages."""
        return f"{self.channel(room)}:h"

    def present(self, room: str) -> str:
        """Its people."""
        return f"{self.channel(room)}:p"

    def kept(self, room: str) -> tuple[str, ...]:
        """What must not expire while a room is followed."""
        return self.meta(room), self.history(room), self.present(room)

    def last_of(self, room: str, publisher_id: str) -> str:
        """The last message of a publisher."""
        return f"{self.channel(room)}:o:{publisher_id}"

    def confirmed(self, room: str, message: str) -> str:
        """The position of a confirmed message."""
        return f"{self.channel(room)}:c:{message}"

    def probe(self, worker: str) -> str:
        """The channel with which a worker checks that pushes arrive."""
        return f"{self.prefix}probe:{worker}"

    @property
    def workers(self) -> str:
        """The leases of the workers."""
        return f"{self.prefix}w"

    def rooms_of(self, worker: str) -> str:
        """The rooms in which a worker has announced people."""
        return f"{self.prefix}w:{worker}"
