"""Virtual time for asyncio: an event loop whose selector never blocks."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from typing import Any

from ._errors import Deadlock, Livelock
from ._livelock import MAX_TURNS, TurnLimit, stop_applications
from ._patience import Patience
from ._where import describe_deadlock


class _JumpingSelector(selectors.BaseSelector):
    """Polls a real selector. If nothing is ready, time jumps instead of passing."""

    def __init__(self, every_turn: Callable[[], None], max_turns: int) -> None:
        self._every_turn = every_turn
        self._real = selectors.DefaultSelector()
        self._patience = Patience()
        self._limit = TurnLimit(max_turns)
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Poll, then jump by ``timeout`` seconds if nothing is ready."""
        self._every_turn()
        self._count_turn(timeout)
        if timeout is not None and timeout > 0:
            ready = self._real.select(0)
            if not ready:
                later = self.now + timeout
                # Round it, so that many small steps add up to exactly the time of a later timer.
                rounded = round(later, 9)
                self.now = rounded if rounded > self.now else later
            return ready
        ready = self._real.select(0)
        # No timeout means that no task is runnable and no timer is set.
        while timeout is None and not ready:
            if self._patience.exhausted():
                raise Deadlock(_describe(asyncio.all_tasks(asyncio.get_running_loop())))
            ready = self._real.select(0)
        self._patience.reset()
        return ready

    def _count_turn(self, timeout: float | None) -> None:
        """Stop an endless loop: first the applications, then the event loop."""
        if timeout != 0:
            self._limit.reset()
        elif self._limit.turn():
            for task in asyncio.all_tasks(asyncio.get_running_loop()):
                if getattr(task, "_fut_waiter", None) is None:  # it is runnable
                    self._limit.note(task.get_coro(), task.get_name())
            exceeded = self._limit.exceeded()
            if exceeded is not None and not stop_applications(exceeded[0]):
                raise Livelock(exceeded[0])

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Pass the call on."""
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Pass the call on."""
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Pass the call on."""
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Pass the call on."""
        return self._real.get_map()

    def close(self) -> None:
        """Pass the call on."""
        self._real.close()


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on virtual time, starting at zero.

    Args:
        every_turn: Called once in every turn of the loop. An exception from it stops the loop.
        max_turns: The most consecutive turns at one instant.
    """

    def __init__(
        self, every_turn: Callable[[], None] = lambda: None, *, max_turns: int = MAX_TURNS
    ) -> None:
        self._jumping = _JumpingSelector(every_turn, max_turns)
        super().__init__(self._jumping)

    def time(self) -> float:
        """The virtual time in seconds."""
        return self._jumping.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Join the threads, without a timeout, because they end in real time."""
        await super().shutdown_default_executor()


def _describe(tasks: set[asyncio.Task[Any]]) -> str:
    return describe_deadlock({task.get_name(): task.get_coro() for task in tasks})
