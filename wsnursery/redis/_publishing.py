"""Publishing: held messages are sent to Redis in order, a limited number at a time."""

from __future__ import annotations

import secrets
from functools import partial
from itertools import count
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

BATCH_BYTES: Final = 64 * 1024
"""The bytes that are numbered together, because Redis does nothing else meanwhile. One message may
exceed it."""


class Publisher:
    """Sends held messages, and settles each when Redis has numbered it.

    Consecutive messages to one room are sent together. For Redis and for the workers, that is much
    cheaper than one command and one push for each.

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
        prefix = secrets.token_hex(8)
        self._epochs = (f"{prefix}{number:x}" for number in count())
        """Names for new epochs. None is ever used again, in no session."""
        self._in_flight = self._bytes_in_flight = 0
        self._last_in_flight: dict[str, int] = {}
        """By room: the newest message in flight."""

    def start(self) -> None:
        """Send held and new messages from now on. Messages in flight before are sent again."""
        # The outcome of messages that an earlier session had in flight is unknown. Sending them
        # again is safe, because Redis recognises the retry.
        self._hold.take_again()
        connection = self._commands.connection
        connection.refill = self._send_waiting
        # The connection sends in its next turn, so that messages which are published in one turn
        # are sent together.
        self._hold.on_put = connection.wake
        connection.wake()

    def stop(self) -> None:
        """Send nothing any more."""
        self._hold.on_put = None

    def _send_waiting(self) -> None:
        while self._has_room() and (held := self._hold.take()) is not None:
            self._send(self._with_following(held))

    def _has_room(self) -> bool:
        return self._in_flight < WINDOW_MESSAGES and self._bytes_in_flight < WINDOW_BYTES

    def _with_following(self, held: Held) -> list[Held]:
        """Return a message and the waiting ones that can be sent together with it."""
        batch, size = [held], held.size
        while self._in_flight + len(batch) < WINDOW_MESSAGES and size < BATCH_BYTES:
            following = self._hold.take_next(batch[-1])
            if following is None:
                break
            batch.append(following)
            size += following.size
        self._in_flight += len(batch)
        self._bytes_in_flight += size
        return batch

    def _send(self, batch: list[Held]) -> None:
        keys, room = self._commands.keys, batch[0].outgoing.room
        confirmed = [index for index, held in enumerate(batch) if held.outgoing.settle is not None]
        previous = self._last_in_flight.get(room, "")
        self._last_in_flight[room] = batch[-1].number
        self._commands.run(
            _scripts.PUBLISH,
            [
                keys.meta(room),
                keys.history(room),
                keys.last_of(room, self._publisher_id),
                *(
                    keys.confirmed(room, f"{self._publisher_id}:{batch[index].number}")
                    for index in confirmed
                ),
            ],
            [
                keys.channel(room),
                next(self._epochs),
                *self._history,
                self._ttl,
                batch[0].number,
                previous,
                " ".join(map(str, confirmed)),
                *[encode(held.outgoing) for held in batch],
            ],
            partial(self._answer, batch),
        )

    def _answer(self, batch: list[Held], reply: Reply) -> None:
        room, last = batch[0].outgoing.room, batch[-1].number
        if self._last_in_flight[room] == last:
            del self._last_in_flight[room]
        self._in_flight -= len(batch)
        self._bytes_in_flight -= sum(held.size for held in batch)
        positions = iter(reply)
        for held in batch:
            awaited = held.outgoing.settle is not None
            self._hold.settle(held, _outcome(next(positions).decode()) if awaited else None)
        if self._hold.has_waiting:
            self._commands.connection.wake()


def _outcome(reply: str) -> Position | EngineAway:
    epoch, _, number = reply.partition(" ")
    if number:
        return Position(epoch, int(number))
    # Redis keeps the position for the answer to a retry only if a caller waits for it.
    return EngineAway("Redis has numbered the message, but no longer knows its position")
