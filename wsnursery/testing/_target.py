"""The code under test in an exploration, which can be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio


class Target:
    """A piece of code under test that can be cancelled. Made by ``Run.target()``."""

    def __init__(self, first_step: int) -> None:
        self.first_step = first_step
        """The number of steps when it started."""
        self.last_step = first_step
        """The number of steps when it ended."""
        self.cancelled_caught: bool = False
        """Whether a cancellation by the exploration has ended it."""
        self._scope: anyio.CancelScope | None = None
        self._task: asyncio.Task[Any] | None = None
        self._natively = False

    def cancel(self) -> None:
        """Cancel it through a cancel scope, if it has not ended."""
        if self._scope is not None:
            self._scope.cancel()

    def cancel_natively(self) -> None:
        """Cancel its task as asyncio's own tools do, if it has not ended."""
        if self._task is not None:
            self._natively = True
            self._task.cancel()

    @asynccontextmanager
    async def cancellable(self) -> AsyncGenerator[None]:
        """Run the code in the block; the exploration's cancellations end here.

        Raises:
            AssertionError: ``Task.cancelling()`` does not count the native cancellation once.
        """
        task = _asyncio_task()
        before = 0 if task is None else task.cancelling()
        self._task = task
        scope = self._scope = anyio.CancelScope()
        try:
            with scope:
                yield
        except asyncio.CancelledError:  # noqa: ASYNC103 - the exploration's own cancellation ends here
            if not self._natively:
                raise
            self.cancelled_caught = True
        finally:
            self._scope = self._task = None
            if self._natively and task is not None:
                await self._take_back(task, before)  # noqa: ASYNC102 - at most one step of the loop
        self.cancelled_caught |= scope.cancelled_caught

    async def _take_back(self, task: asyncio.Task[Any], before: int) -> None:
        """Undo the native cancellation, so that it does not continue after this block."""
        if not self.cancelled_caught:
            # The code ended before the cancellation was delivered.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        count = task.cancelling() - before
        if count != 1:
            raise AssertionError(f"Task.cancelling() went up by {count} for one cancellation")
        task.uncancel()


def _asyncio_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # this is trio
        return None
