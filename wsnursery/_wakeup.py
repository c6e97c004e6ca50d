"""One task's sleep until another one wakes it: trio and asyncio side by side.

`anyio.Event` does the same with one object and several calls more per message, and a memory object
stream can lose its item when a native cancellation meets a delivery. These two carry no item: the
sleeper looks again at the state that the waker has changed, so a wake-up may come too often, never
too seldom.
"""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import trio


class Wakeup(Protocol):
    """Lets one task at a time sleep until it is woken."""

    async def wait(self) -> None:
        """Sleep until `wake`. A checkpoint; when it is cancelled, it is as if never called."""
        ...

    def wake(self) -> None:
        """Wake the sleeping task, if there is one. Any task of the loop may call it."""
        ...


class TrioWakeup:
    """`Wakeup` on trio's own primitive."""

    __slots__ = ("_lowlevel", "_task")

    def __init__(self) -> None:
        # trio is imported by whoever runs on it; without it this module works all the same.
        self._lowlevel: ModuleType = sys.modules["trio"].lowlevel
        self._task: trio.lowlevel.Task | None = None

    async def wait(self) -> None:
        self._task = self._lowlevel.current_task()
        await self._lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        succeeded: trio.lowlevel.Abort = self._lowlevel.Abort.SUCCEEDED
        return succeeded

    def wake(self) -> None:
        if self._task is not None:
            self._lowlevel.reschedule(self._task)
            self._task = None


class AsyncioWakeup:
    """`Wakeup` on an asyncio future."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        self._future = asyncio.get_running_loop().create_future()
        try:
            await self._future
        finally:
            self._future = None

    def wake(self) -> None:
        # A future that is done has been woken already, or its task is being cancelled.
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


def running_on_trio() -> bool:
    """Whether the calling task is a trio task (also true under trio's guest mode)."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


def wakeup_class() -> type[TrioWakeup | AsyncioWakeup]:
    """The `Wakeup` of the running backend."""
    return TrioWakeup if running_on_trio() else AsyncioWakeup
