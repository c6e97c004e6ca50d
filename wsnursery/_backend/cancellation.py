"""asyncio's own (native) cancellation of the task in which a block runs.

anyio tells its cancellations from asyncio's by counting ``Task.cancelling()``. Before CPython 3.13
an `asyncio.TaskGroup` whose child fails while the group is being left requests the cancellation of
its task and never withdraws the request. The count then stays one too high: anyio believes in a
native cancellation that was never requested, lets our cancellation out of its scope, and the count
misleads the code after the block too. This module corrects the count and recognises our own
cancellation. On trio there is nothing to do.

All counts here leave out the requests of anyio's scopes, because each scope withdraws its own ones.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from .running import running_on_trio

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

_LEAKS = sys.version_info < (3, 13)
"""Whether `asyncio.TaskGroup` can leave a cancellation request behind."""


class CancellationLedger(Protocol):
    """The task that entered the block."""

    def watch(self, group: TaskGroup) -> TaskGroup:
        """Notice from now on that any code, or a deadline, cancels the group that the body is in.

        Call it before the group is entered.
        """
        ...

    def unwatch(self, group: TaskGroup) -> None:
        """A cancellation is going to leave the group, which makes anyio cancel the group too."""
        ...

    def about_to_cancel(self) -> None:
        """The body, or the group that it is in, is going to be cancelled."""
        ...

    def is_our_cancellation(self, exc: BaseException) -> bool:
        """Return whether a cancellation that left the cancelled body was made by the connection."""
        ...

    def settle(self) -> None:
        """The body has ended without a cancellation: withdraw the requests that asyncio left."""
        ...


class TrioLedger:
    """Does nothing, because trio has one kind of cancellation, recognised by its scopes."""

    __slots__ = ()

    def watch(self, group: TaskGroup) -> TaskGroup:
        return group

    def unwatch(self, group: TaskGroup) -> None:
        pass

    def about_to_cancel(self) -> None:
        pass

    def is_our_cancellation(self, exc: BaseException) -> bool:
        return False

    def settle(self) -> None:
        pass


class AsyncioLedger:
    """Compares the number of native requests at entry, at our cancellation and at the end."""

    __slots__ = ("_at_cancel", "_at_entry", "_cancelled", "_leaks", "_task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._at_entry = _native_requests(task)
        self._at_cancel = self._at_entry
        self._cancelled = False
        self._leaks = _LEAKS

    def watch(self, group: TaskGroup) -> TaskGroup:
        scope = group.cancel_scope = _watched_scope()()
        scope.ledger = self
        return group

    def unwatch(self, group: TaskGroup) -> None:
        scope: Any = group.cancel_scope
        scope.ledger = None

    def about_to_cancel(self) -> None:
        if not self._cancelled and not _is_being_cancelled(self._task):
            # Requests that a task group has left until now.
            self._at_cancel = _native_requests(self._task)
        self._cancelled = True

    def is_our_cancellation(self, exc: BaseException) -> bool:
        # A task group inside, or a task that cancels this one, made these requests.
        count = _native_requests(self._task)
        # An earlier request is a native cancellation that passes through the body, or one that a
        # task group has left behind: only anyio's message distinguishes them. If the request is not
        # counted any more, an `asyncio.timeout` made it and has withdrawn it.
        is_native = min(count, self._at_cancel) > self._at_entry and _has_native_cancellation(exc)
        return (
            isinstance(exc, asyncio.CancelledError)
            and self._cancelled
            and not is_native
            and count - self._at_cancel <= (_failed_groups(exc) if self._leaks else 0)
            and anyio.current_effective_deadline() > -math.inf
        )

    def settle(self) -> None:
        if not self._leaks:
            return
        for _ in range(_native_requests(self._task) - self._at_entry):
            self._task.uncancel()
        self._at_cancel = self._at_entry
        self._leaks = False  # nothing of the body is left that could leave a request behind


NO_LEDGER = TrioLedger()
"""For connections whose block has been left, and for all connections on trio."""


def is_cancellation(exc: BaseException) -> bool:
    """Return whether an exception is a cancellation of the running backend.

    Unlike `anyio.get_cancelled_exc_class` it can be called in a plain callback of the loop.
    """
    if running_on_trio():
        return isinstance(exc, sys.modules["trio"].Cancelled)
    return isinstance(exc, asyncio.CancelledError)


def is_native(exc: BaseException) -> bool:
    """Return whether an exception is a cancellation that `asyncio.Task.cancel` has requested.

    anyio (4.0 to 4.16) marks its cancellations with this message and recognises them by it.
    """
    if not isinstance(exc, asyncio.CancelledError):
        return False
    message = str(exc.args[0]) if exc.args else ""
    return not message.startswith("Cancelled via cancel scope ")


@contextmanager
def fenced() -> Generator[None]:
    """Wrap all that a task does: the requests of its cancel scopes stay in the task.

    On asyncio a scope of anyio's (to 4.16 at least) hands the requests that it has not taken back
    to the scope around it, although that one may belong to another task. It would then take back
    as many native ones of that task. On trio nothing is counted.
    """
    if running_on_trio():
        yield
        return
    task = asyncio.current_task()
    assert task is not None
    with anyio.CancelScope() as scope:
        yield
        if task.cancelling():
            # A cancelled scope, shielded from the scopes around it, withdraws the requests.
            scope.shield = True
            scope.cancel()


def current_ledger() -> CancellationLedger:
    """Return the ledger of the running task."""
    return NO_LEDGER if running_on_trio() else AsyncioLedger()


@cache
def _watched_scope() -> Callable[[], Any]:
    """Return the class of anyio's cancel scopes on asyncio, with a ``cancel`` that is noticed.

    The scope calls ``cancel`` itself when its deadline has passed, and the group does when a task
    of it fails.
    """
    base: Any = type(anyio.CancelScope())

    class CancelScope(base):  # type: ignore[misc]
        __slots__ = ("ledger",)
        ledger: AsyncioLedger | None

        def cancel(self, reason: str | None = None) -> None:
            if self.ledger is not None:
                self.ledger.about_to_cancel()
            base.cancel(self, reason)

    return CancelScope


def _native_requests(task: asyncio.Task[Any]) -> int:
    """Return how many requests to cancel a task were not made by its cancel scopes.

    A scope of anyio's (4.16) counts its requests, because it withdraws them when it is left. A
    request that was withdrawn here as well would leave one native request too few. If a release of
    anyio counts them elsewhere, its requests are included.
    """
    count = task.cancelling()
    states: Any = getattr(sys.modules.get("anyio._backends._asyncio"), "_task_states", {})
    scope: Any = getattr(states.get(task), "cancel_scope", None)
    while getattr(scope, "_host_task", None) is task:
        count -= getattr(scope, "_pending_uncancellations", 0)
        scope = getattr(scope, "_parent_scope", None)
    return count


def _is_being_cancelled(task: asyncio.Task[object]) -> bool:
    """Return whether a native cancellation was requested that has not reached the task yet."""
    waiter: asyncio.Future[object] | None = task
    while isinstance(waiter, asyncio.Task):
        if getattr(waiter, "_must_cancel", False):
            return True
        # anyio looks at these two attributes as well; C and Python tasks both have them.
        waiter = getattr(waiter, "_fut_waiter", None)
    return waiter is not None and waiter.cancelled()


def _has_native_cancellation(exc: BaseException | None) -> bool:
    """Return whether a cancellation that is not anyio's is being handled, here or further out."""
    while exc is not None:
        if is_native(exc):
            return True
        exc = exc.__context__
    return False


def _failed_groups(exc: BaseException | None) -> int:
    """Return the number of exception groups being handled: each can come from a task group."""
    count = 0
    while exc is not None:
        count += isinstance(exc, BaseExceptionGroup)
        exc = exc.__context__
    return count
