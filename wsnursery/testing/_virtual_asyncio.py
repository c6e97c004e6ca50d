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
    """Polls a real selector; where that has nothing, time jumps instead of passing."""

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
                # Rounded, so that many small steps add up to the very time of a later timer.
                rounded = round(later, 9)
                self.now = rounded if rounded > self.now else later
            return ready
        ready = self._real.select(0)
        # No timeout means: nothing is runnable and no timer is set.
        while timeout is None and not ready:
            if self._patience.exhausted():
                raise Deadlock(_describe(asyncio.all_tasks(asyncio.get_running_loop())))
            ready = self._real.select(0)
        self._patience.reset()
        return ready

    def _count_turn(self, timeout: float | None) -> None:
        """Stop what runs in a circle: the applications first, then the loop."""
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
        """Pass on."""
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Pass on."""
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Pass on."""
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Pass on."""
        return self._real.get_map()

    def close(self) -> None:
        """Pass on."""
        self._real.close()


class VirtualEventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on virtual time, starting at zero.

    Args:
        every_turn: Called once in every turn of the loop; what it raises stops the loop.
        max_turns: How many turns may follow one another while the time stands still.
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
        """Join the threads. They end in real time, so there is no virtual limit for it."""
        await super().shutdown_default_executor()


def _describe(tasks: set[asyncio.Task[Any]]) -> str:
    return describe_deadlock({task.get_name(): task.get_coro() for task in tasks})
