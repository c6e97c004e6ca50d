"""The watchdog: the one task that looks at the clock. It starts when there is an alarm to keep."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import anyio

from .service import Service

if TYPE_CHECKING:
    from .connection import Connection

Alarm: TypeAlias = Callable[[], None]
"""What is called when it is too late."""


class Watchdog(Service):
    """Calls alarms at their times, on the backend's clock in seconds."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._alarms: dict[Alarm, float] = {}
        self._nap: anyio.CancelScope | None = None
        self._wakes_at = math.inf

    def watch(self, alarm: Alarm, at: float) -> None:
        """Call ``alarm`` at ``at``, and no more at the time it had before.

        A later time than the one the watchdog sleeps for costs nothing: it looks when it wakes.
        """
        self._alarms[alarm] = at
        if not self.is_running:
            self._wakes_at = at
            self.start()
        elif at < self._wakes_at:
            self._wake_at(at)

    def forget(self, alarm: Alarm) -> None:
        """Do not call ``alarm`` any more."""
        self._alarms.pop(alarm, None)

    def relax(self) -> None:
        """Let the task end, if there is no alarm: it may be long before there is one again."""
        if not self._alarms:
            self._wake_at(self._native.now())

    def _wake_at(self, at: float) -> None:
        self._wakes_at = at
        if self._nap is not None:
            self._nap.deadline = at

    async def work(self) -> None:
        """Sleep until the first alarm; end when there is none.

        It looks for alarms when it wakes and not before: one that is watched and forgotten for
        every message does not cost a task for every message.
        """
        self._nap = None
        while self._wakes_at < math.inf:
            with anyio.CancelScope(deadline=self._wakes_at) as self._nap:
                await anyio.sleep_forever()
            now = self._native.now()
            for alarm in [alarm for alarm, at in self._alarms.items() if at <= now]:
                self.forget(alarm)
                alarm()
            self._wakes_at = min(self._alarms.values(), default=math.inf)
