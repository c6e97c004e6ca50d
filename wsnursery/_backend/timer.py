"""The timer of an event loop: calls at a time, and periodic checks.

One timer serves every connection of the loop. A task for each connection that watches the clock
would need as much memory as the rest of an idle connection.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import Context
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import trio

logger = logging.getLogger("wsnursery")

LOOK_SECONDS = 0.025
"""Seconds between two checks. After two checks without a reader, the receiver task takes over: 0.05
s is early enough for a disconnect, and late enough for most handlers to read the next message."""

Look: TypeAlias = Callable[[], bool]
"""Makes one check. Returns whether it must be called again."""


class Alarm(Protocol):
    """A scheduled call."""

    def cancel(self) -> None:
        """Cancel the call. Idempotent, also after the call."""
        ...


class Timer(ABC):
    """Calls plain functions at their times, in the loop's thread and outside of users' tasks."""

    __slots__ = ("_looks", "_round")

    def __init__(self) -> None:
        self._looks: dict[Look, None] = {}
        self._round: Alarm | None = None

    @abstractmethod
    def now(self) -> float:
        """The loop's clock, in seconds."""

    @abstractmethod
    def at(self, when: float, call: Callable[[], None]) -> Alarm:
        """Call ``call`` at ``when`` on the loop's clock, in seconds."""

    def watch(self, look: Look) -> None:
        """Call ``look`` every `LOOK_SECONDS` until it returns `False`.

        All checks share one alarm, so adding one is cheap.
        """
        self._looks[look] = None
        if self._round is None:
            self._round = self.at(self.now() + LOOK_SECONDS, self._look_around)

    def unwatch(self, look: Look) -> None:
        """Stop calling it."""
        self._looks.pop(look, None)
        if not self._looks and self._round is not None:
            self._round.cancel()
            self._round = None

    def _look_around(self) -> None:
        self._round = None
        for look in tuple(self._looks):
            if look in self._looks and not _safely(look):
                self._looks.pop(look, None)
        if self._looks:
            self._round = self.at(self.now() + LOOK_SECONDS, self._look_around)


def _safely(look: Look) -> bool:
    try:
        return look()
    except Exception:
        logger.exception("a bug in wsnursery: please report it")
        return False


class AsyncioTimer(Timer):
    """Uses the timer of asyncio's loop."""

    __slots__ = ("_loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def now(self) -> float:
        return self._loop.time()

    def at(self, when: float, call: Callable[[], None]) -> Alarm:
        # Use an empty context, because the caller's would keep alive all objects in it.
        return self._loop.call_at(when, call, context=Context())


class TrioTimer(Timer):
    """A heap of alarms, and a system task that exists while there are alarms."""

    __slots__ = ("_alarms", "_lowlevel", "_nap", "_pending", "_sequence", "_trio")

    def __init__(self, module: ModuleType) -> None:
        super().__init__()
        self._trio: Any = module
        self._alarms: list[_TrioAlarm] = []
        self._pending = 0
        """The number of alarms that are neither called nor cancelled."""
        self._sequence = 0
        self._nap: trio.CancelScope | None = None

    def now(self) -> float:
        now: float = self._trio.current_time()
        return now

    def at(self, when: float, call: Callable[[], None]) -> Alarm:
        self._sequence += 1
        alarm = _TrioAlarm(when, self._sequence, call, self)
        heapq.heappush(self._alarms, alarm)
        self._pending += 1
        if self._nap is None:
            self._nap = self._trio.CancelScope(deadline=when)
            self._trio.lowlevel.spawn_system_task(
                self._run, name="wsnursery timer", context=Context()
            )
        elif when < self._nap.deadline:
            self._nap.deadline = when
        return alarm

    def forget(self) -> None:
        """An alarm was cancelled. The task ends after the last one."""
        self._pending -= 1
        if not self._pending and self._nap is not None:
            self._nap.deadline = -math.inf

    async def _run(self) -> None:
        try:
            while self._pending:
                assert self._nap is not None
                with self._nap:
                    await self._trio.sleep_forever()
                self._call_what_is_due()
                first = self._alarms[0].when if self._pending else -math.inf
                self._nap = self._trio.CancelScope(deadline=first)
        finally:
            # Cancelled alarms may still be in the heap.
            self._alarms.clear()
            self._pending = 0
            self._nap = None

    def _call_what_is_due(self) -> None:
        now = self.now()
        while self._alarms and (self._alarms[0].call is None or self._alarms[0].when <= now):
            alarm = heapq.heappop(self._alarms)
            call, alarm.call = alarm.call, None
            if call is None:
                continue
            self._pending -= 1
            try:
                call()
            except Exception:
                logger.exception("a bug in wsnursery: please report it")


class _TrioAlarm:
    """One entry of the heap. A cancelled entry stays in it until its time."""

    __slots__ = ("_sequence", "_timer", "call", "when")

    def __init__(
        self, when: float, sequence: int, call: Callable[[], None], timer: TrioTimer
    ) -> None:
        self.when = when
        self._sequence = sequence
        self.call: Callable[[], None] | None = call
        self._timer = timer

    def __lt__(self, other: _TrioAlarm) -> bool:
        return (self.when, self._sequence) < (other.when, other._sequence)

    def cancel(self) -> None:
        if self.call is not None:
            self.call = None
            self._timer.forget()
