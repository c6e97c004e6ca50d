"""The task in which a block runs, as far as asyncio's own cancellation is concerned.

anyio tells its cancellations from asyncio's by counting ``Task.cancelling()``. Before CPython 3.13
an `asyncio.TaskGroup` whose child fails while the group is being left asks its task to cancel and
never takes that back. The count is then one too high for good: anyio believes in a native
cancellation that nobody wanted, lets ours out of its scope, and whoever looks at the task's count
after the block is misled too. Here the count is put right, and our own cancellation recognised.
On trio there is nothing to do. The two stand side by side.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Protocol

import anyio

from .native import running_on_trio

_LEAKS = sys.version_info < (3, 13)
"""Whether `asyncio.TaskGroup` can leave a cancellation request behind."""


class Host(Protocol):
    """The task that entered the block."""

    def about_to_cut(self) -> None:
        """The connection is going to cancel the body, or the group that it is in."""
        ...

    def is_our_cut(self, exc: BaseException) -> bool:
        """Whether a cancellation that came out of the cancelled body is the connection's own."""
        ...

    def settle(self) -> None:
        """The body has ended without a cancellation: take back what asyncio left behind."""
        ...


class TrioHost:
    """trio has one kind of cancellation, and its scopes know their own: nothing to do."""

    __slots__ = ()

    def about_to_cut(self) -> None:
        pass

    def is_our_cut(self, exc: BaseException) -> bool:
        return False

    def settle(self) -> None:
        pass


class AsyncioHost:
    """Counts what `asyncio.Task.cancelling` says at entry, at the cut and at the end."""

    __slots__ = ("_at_cut", "_at_entry", "_task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._at_entry = task.cancelling()
        self._at_cut: int | None = None

    def about_to_cut(self) -> None:
        if _LEAKS and self._at_cut is None and not _is_being_cancelled(self._task):
            self._at_cut = self._task.cancelling()

    def is_our_cut(self, exc: BaseException) -> bool:
        return (
            isinstance(exc, asyncio.CancelledError)
            and self._at_cut is not None
            and self._task.cancelling() <= self._at_cut
            and anyio.current_effective_deadline() > -float("inf")
            and not _has_native_cancellation(exc)
        )

    def settle(self) -> None:
        while _LEAKS and self._task.cancelling() > self._at_entry:
            self._task.uncancel()


NO_HOST = TrioHost()
"""For a connection whose block has been left, and for every one on trio."""


def is_cancellation(exc: BaseException) -> bool:
    """Whether an exception is the running backend's cancellation."""
    return isinstance(exc, anyio.get_cancelled_exc_class())


def current_host() -> Host:
    """The running task."""
    return NO_HOST if running_on_trio() else AsyncioHost()


def _is_being_cancelled(task: asyncio.Task[object]) -> bool:
    """Whether a native cancellation has been asked for that the task has not met yet."""
    waiter: asyncio.Future[object] | None = task
    while isinstance(waiter, asyncio.Task):
        if getattr(waiter, "_must_cancel", False):
            return True
        # anyio looks at these two attributes as well; C and Python tasks both have them.
        waiter = getattr(waiter, "_fut_waiter", None)
    return waiter is not None and waiter.cancelled()


def _has_native_cancellation(exc: BaseException | None) -> bool:
    """Whether a cancellation that is not anyio's is being handled, here or further out."""
    while exc is not None:
        if isinstance(exc, asyncio.CancelledError) and not _is_from_anyio(exc):
            return True
        exc = exc.__context__
    return False


def _is_from_anyio(exc: asyncio.CancelledError) -> bool:
    """Anyio (4.0 to 4.16) marks its cancellations with this message and recognises them by it."""
    return bool(exc.args) and str(exc.args[0]).startswith("Cancelled via cancel scope ")
