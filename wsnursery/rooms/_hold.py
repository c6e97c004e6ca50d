"""The messages that an engine has taken and not numbered yet, within limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import anyio

from wsnursery._engine.payload import size_of

from ._engine import EngineAway, Outgoing
from ._position import Position


class Held:
    """One of these messages."""

    __slots__ = ("deadline", "is_settled", "number", "outgoing", "size")

    def __init__(self, outgoing: Outgoing, number: int, size: int, deadline: float) -> None:
        self.outgoing = outgoing
        self.number = number
        """Its place among all messages that this engine has taken, counted from 1."""
        self.size = size
        self.deadline = deadline
        """When it is dropped, on the clock of the event loop."""
        self.is_settled = False


class Hold:
    """A bounded queue whose items are settled exactly once, with a position or with an error.

    Args:
        max_messages: The most messages that it holds.
        max_bytes: The most payload that it holds, in bytes. One message may exceed it.
        max_seconds: The longest time for which it holds a message.
    """

    def __init__(self, max_messages: int, max_bytes: int, max_seconds: float) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._held: dict[int, Held] = {}
        """The messages by number, oldest first: those that wait and those in flight."""
        self._waiting: deque[Held] = deque()
        self._number = 0
        self._now: Callable[[], float] | None = None
        self.on_put: Callable[[], None] | None = None
        """Called after a message was put."""
        self.bytes = 0
        """The payload of the held messages, in bytes."""
        self.refused = 0
        """The number of messages that were refused or dropped."""

    def __len__(self) -> int:
        return len(self._held)

    def put(self, outgoing: Outgoing) -> bool:
        """Take a message if it fits. Return whether it was taken."""
        size = size_of(outgoing.message)
        full = len(self._held) >= self._max_messages or self.bytes + size > self._max_bytes
        # An empty queue takes every message, because one that exceeds `max_bytes` could never be
        # sent.
        if full and self._held:
            self.refused += 1
            return False
        self._number += 1
        # Before `start_clock` the deadline is a duration, to which `start_clock` adds the time.
        deadline = self._max_seconds + (0 if self._now is None else self._now())
        held = Held(outgoing, self._number, size, deadline)
        self._held[held.number] = held
        self._waiting.append(held)
        self.bytes += size
        if self.on_put is not None:
            self.on_put()
        return True

    @property
    def has_waiting(self) -> bool:
        """Whether a message is not in flight."""
        return bool(self._waiting)

    def take(self) -> Held | None:
        """Return the oldest message that is not in flight; `None` if there is none."""
        while self._waiting:
            held = self._waiting.popleft()
            if not held.is_settled:
                return held
        return None

    def take_next(self, previous: Held) -> Held | None:
        """Return the message after one that was just taken, if there is one to the same room.

        Messages are settled oldest first. So it is not settled, and its number is the next one.
        """
        if self._waiting and self._waiting[0].outgoing.room == previous.outgoing.room:
            return self._waiting.popleft()
        return None

    def take_again(self) -> None:
        """No message is in flight any more: begin again with the oldest one."""
        self._waiting = deque(self._held.values())

    def settle(self, held: Held, outcome: Position | Exception | None) -> None:
        """Settle a message with its outcome. Only the first outcome counts.

        Args:
            held: The message.
            outcome: `None` if no caller waits for it.
        """
        if held.is_settled:
            return
        held.is_settled = True
        del self._held[held.number]
        self.bytes -= held.size
        if held.outgoing.settle is not None:
            assert outcome is not None, "its caller waits for it"
            held.outgoing.settle(outcome)

    def start_clock(self, now: Callable[[], float]) -> None:
        """Start the clock, also for the messages that are already held."""
        if self._now is None:
            for held in self._held.values():
                held.deadline += now()
        self._now = now

    def seconds_left(self) -> float:
        """Return for how many seconds the oldest message may still be held."""
        assert self._now is not None, "start_clock() comes first"
        oldest = next(iter(self._held.values()), None)
        return self._max_seconds if oldest is None else max(0.0, oldest.deadline - self._now())

    def expire(self) -> None:
        """Drop the messages that have been held for too long."""
        while self._held and not self.seconds_left():
            self.refused += 1
            self.settle(
                next(iter(self._held.values())),
                EngineAway(
                    f"the engine of the shared rooms has not answered within {self._max_seconds} s"
                ),
            )

    async def give_up_late(self) -> None:
        """Drop messages that have been held for too long. Runs until cancelled."""
        while True:
            # Later messages expire later, so sleeping until the oldest one expires is enough.
            await anyio.sleep(self.seconds_left())
            self.expire()
