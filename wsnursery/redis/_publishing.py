"""Publishing: held messages are sent to Redis in order, a limited number at a time."""

from __future__ import annotations

import secrets
from collections import deque
from typing import Final

from wsnursery.rooms import EngineAway, Position, Sink
from wsnursery.rooms._hold import Held, Hold

from . import _scripts
from ._codec import encode
from ._commands import Commands
from ._connection import Reply

WINDOW_MESSAGES: Final = 128
"""The most publishes in flight. If the connection is lost, their outcome is unknown."""

WINDOW_BYTES: Final = 1024 * 1024
"""The same limit in bytes. One message may exceed it."""


class Publisher:
    """Sends held messages, and settles each when Redis has numbered it.

    Args:
        commands: Sends commands to Redis.
        hold: The held messages.
        publisher_id: The name by which Redis recognises a retry. It is the same in all sessions.
        sink: Has the size of the history to keep.
        ttl: Seconds for which the history is kept.
    """

    def __init__(
        self, commands: Commands, hold: Hold, publisher_id: str, sink: Sink, ttl: int
    ) -> None:
        self._commands = commands
        self._hold = hold
        self._publisher_id = publisher_id
        self._history = (sink.history, sink.history_bytes)
        self._ttl = ttl
        self._in_flight: deque[Held] = deque()
        self._bytes_in_flight = 0
        self._last_in_flight: dict[str, int] = {}
        """By room: the newest message in flight."""

    async def run(self) -> None:
        """Send held and new messages until cancelled. Messages in flight before are sent again."""
        # The outcome of messages that an earlier session had in flight is unknown. Sending them
        # again is safe, because Redis recognises the retry.
        self._hold.take_again()
        while True:
            while self._has_room() and (held := self._hold.take()) is not None:
                self._send(held)
            await self._hold.changed()

    def _has_room(self) -> bool:
        return len(self._in_flight) < WINDOW_MESSAGES and self._bytes_in_flight < WINDOW_BYTES

    def _send(self, held: Held) -> None:
        outgoing, keys = held.outgoing, self._commands.keys
        room = outgoing.room
        body = encode(outgoing)
        previous = self._last_in_flight.get(room, "")
        self._last_in_flight[room] = held.number
        self._in_flight.append(held)
        self._bytes_in_flight += held.size
        self._commands.run(
            _scripts.PUBLISH,
            [
                keys.meta(room),
                keys.history(room),
                keys.last_of(room, self._publisher_id),
                keys.confirmed(room, f"{self._publisher_id}:{held.number}"),
            ],
            [
                body,
                keys.channel(room),
                secrets.token_hex(8),
                *self._history,
                self._ttl,
                held.number,
                previous,
                int(outgoing.settle is not None),
            ],
            self._answer,
        )

    def _answer(self, reply: Reply) -> None:
        held = self._in_flight.popleft()
        self._bytes_in_flight -= held.size
        if self._last_in_flight.get(held.outgoing.room) == held.number:
            del self._last_in_flight[held.outgoing.room]
        self._hold.settle(held, _outcome(reply.decode()))


def _outcome(reply: str) -> Position | EngineAway:
    epoch, _, number = reply.partition(" ")
    if number:
        return Position(epoch, int(number))
    # Redis keeps the position for the answer to a retry only if a caller waits for it.
    return EngineAway("Redis has numbered the message, but no longer knows its position")
