"""A wake-up for one sleeping task: trio and asyncio side by side behind one interface.

anyio has two alternatives. An `anyio.Event` needs a new object for every wait, and finds out each
time which backend runs, which is too slow for every message. A memory object stream can lose its
item if a native cancellation coincides with the delivery.
"""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import trio


class Wakeup(Protocol):
    """Lets one task at a time sleep until it is woken.

    It carries no item: the sleeper checks the state that the waker has changed. So a superfluous
    wake-up is harmless, but none may be missing.
    """

    @property
    def is_asleep(self) -> bool:
        """Whether a task sleeps and has not been woken yet."""
        ...

    async def wait(self) -> None:
        """Sleep until `wake`. A checkpoint. A cancellation leaves no trace."""
        ...

    def wake(self) -> None:
        """Wake the sleeping task, if there is one. Any code in the loop's thread may call it."""
        ...


class TrioWakeup:
    """`Wakeup` on trio's own primitive."""

    __slots__ = ("_lowlevel", "_task")

    def __init__(self, lowlevel: ModuleType) -> None:
        self._lowlevel = lowlevel
        self._task: trio.lowlevel.Task | None = None

    @property
    def is_asleep(self) -> bool:
        return self._task is not None

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

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    @property
    def is_asleep(self) -> bool:
        # A future that is done has been woken already, or its task is being cancelled.
        return self._future is not None and not self._future.done()

    async def wait(self) -> None:
        self._future = self._loop.create_future()
        try:
            await self._future
        finally:
            self._future = None

    def wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)
