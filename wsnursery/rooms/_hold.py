"""Messages that an engine has taken and not numbered yet: bounded in messages, bytes, seconds."""

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
        """Its place among all that this engine has taken, from 1 up."""
        self.size = size
        self.deadline = deadline
        """When it is given up, on the clock of the event loop."""
        self.is_settled = False


class Hold:
    """A bounded queue whose items are settled exactly once: with a position or with an error.

    Args:
        max_messages: Messages that it holds.
        max_bytes: Their payload, in bytes. One message may exceed it.
        max_seconds: How long it holds one.
    """

    def __init__(self, max_messages: int, max_bytes: int, max_seconds: float) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._held: dict[int, Held] = {}
        """By number, oldest first: those that wait and those that are on their way."""
        self._waiting: deque[Held] = deque()
        self._number = 0
        self._now: Callable[[], float] | None = None
        self._changed = anyio.Event()
        self.bytes = 0
        """The payload that is held, in bytes."""
        self.refused = 0
        """Messages that were not taken, or were given up."""

    def __len__(self) -> int:
        return len(self._held)

    def put(self, outgoing: Outgoing) -> bool:
        """Take a message, if it fits."""
        size = size_of(outgoing.message)
        full = len(self._held) >= self._max_messages or self.bytes + size > self._max_bytes
        if full and self._held:
            self.refused += 1
            return False
        self._number += 1
        deadline = self._max_seconds + (0 if self._now is None else self._now())
        held = Held(outgoing, self._number, size, deadline)
        self._held[held.number] = held
        self._waiting.append(held)
        self.bytes += size
        self._changed.set()
        return True

    def take(self) -> Held | None:
        """The oldest message that is not on its way yet; `None` if there is none."""
        while self._waiting:
            held = self._waiting.popleft()
            if not held.is_settled:
                return held
        return None

    def take_again(self) -> None:
        """Nothing is on its way any more: begin again with the oldest message."""
        self._waiting = deque(self._held.values())

    def settle(self, held: Held, outcome: Position | Exception) -> None:
        """Tell the outcome of a message. Only the first one counts."""
        if held.is_settled:
            return
        held.is_settled = True
        del self._held[held.number]
        self.bytes -= held.size
        self._changed.set()
        if held.outgoing.settle is not None:
            held.outgoing.settle(outcome)

    async def changed(self) -> None:
        """Wait until a message was put or settled since the last call."""
        await self._changed.wait()
        self._changed = anyio.Event()

    def start_clock(self, now: Callable[[], float]) -> None:
        """Count the seconds from now on, for what is held already too."""
        if self._now is None:
            for held in self._held.values():
                held.deadline += now()
        self._now = now

    def seconds_left(self) -> float:
        """How long the oldest message may still be held."""
        assert self._now is not None, "start_clock() comes first"
        oldest = next(iter(self._held.values()), None)
        return self._max_seconds if oldest is None else max(0.0, oldest.deadline - self._now())

    def expire(self) -> None:
        """Give up what has been held for too long."""
        while self._held and not self.seconds_left():
            self.refused += 1
            self.settle(
                next(iter(self._held.values())),
                EngineAway(
                    f"the engine of the shared rooms has not answered within {self._max_seconds} s"
                ),
            )

    async def give_up_late(self) -> None:
        """Give up what has been held for too long, until cancelled."""
        while True:
            # What is put later expires later, so sleeping for the oldest one is enough.
            await anyio.sleep(self.seconds_left())
            self.expire()
