"""The user's tasks of one connection: which are notified of the end, and which must stop.

`stopping` has the rule; this module applies it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio

from wsnursery._backend.backend import Backend
from wsnursery._backend.cancellation import (
    NO_LEDGER,
    CancellationLedger,
    current_ledger,
    fenced,
    is_cancellation,
)
from wsnursery._errors import WebSocketDisconnected, is_attributed
from wsnursery._types import Scope

from .observers import Observers
from .outcome import Raised, Raiser, without
from .stopping import CancelLevel, who_must_stop
from .task_warnings import CALLS_AFTER_END, warn_of_calls, warn_of_grace
from .user_task import UserTask, enclosing_task, enclosing_tasks, set_enclosing_tasks

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus


class UserTasks:
    """The body of the block and the children.

    Args:
        token: Identifies the connection in exceptions and contexts.
        scope: Identifies the connection in the log.
        backend: Knows which task runs.
        observers: Notified of the tasks.
        unread: Returns whether messages wait to be read.
    """

    __slots__ = (
        "_abnormal",
        "_backend",
        "_body_finished",
        "_cancelled",
        "_children",
        "_level",
        "_notified",
        "_observers",
        "_outsider",
        "_running",
        "_scope",
        "_unread",
        "body",
        "ever_read",
        "failures",
        "group",
        "ledger",
        "outer",
        "token",
    )

    def __init__(
        self,
        token: object,
        scope: Scope,
        backend: Backend,
        observers: Observers,
        unread: Callable[[], bool],
    ) -> None:
        self.token: object = token
        self._scope = scope
        self._backend = backend
        self._observers = observers
        self._unread = unread
        self.group: TaskGroup | None = None
        """The task group of body and children; `None` when it has been left."""
        self.ledger: CancellationLedger = current_ledger()
        self.outer: tuple[UserTask, ...] = enclosing_tasks()
        """The user's tasks of which the block is part. Its children are part of them, too."""
        self.body: UserTask = UserTask(token, backend.cancel_scope())
        self.body.task = backend.current_task()
        self.failures: list[Raised] = []
        """Everything that was raised, in the order in which it happened."""
        self.ever_read: bool = False
        self._running: list[UserTask] = [self.body]
        """The body and the children that have not finished, in the order of their start."""
        self._children = 0
        """The number of tasks that were ever started."""
        self._outsider: UserTask | None = None
        self._notified: list[tuple[UserTask, Any]] = []
        """Notifications that reached a task of a group that the user's task has opened, instead of
        the user's task itself. Each is valid until the task that it reached has ended."""
        self._body_finished = False
        self._abnormal: bool | None = None
        """How the connection ended; `None` until it has."""
        self._level = CancelLevel.NONE
        self._cancelled = False
        """Whether all tasks were cancelled, because of a failure or from outside."""

    @property
    def is_running(self) -> bool:
        """Whether a task has not finished."""
        return bool(self._running)

    @property
    def cancel_scope(self) -> anyio.CancelScope:
        """The cancel scope of body and children.

        Raises:
            anyio.ClosedResourceError: The block has been left.
        """
        if self.group is None:
            raise _left()
        return self.group.cancel_scope

    def current(self) -> UserTask:
        """The user's task of which the running task is part."""
        return enclosing_task(self.token) or self.outsider()

    def outsider(self) -> UserTask:
        """Represents the tasks of other connections and of the rest of the application.

        They are never cancelled from here, but one of them may read.
        """
        if self._outsider is None:
            self._outsider = UserTask(self.token, self._backend.cancel_scope())
        return self._outsider

    # ------------------------------------------------------------------------- being notified

    def note_reader(self, reader: UserTask) -> None:
        """A task reads for the first time."""
        self.ever_read = reader.reads = True
        self.stop_who_must()

    def notify(self, task: UserTask, *, provisionally: bool = False) -> None:
        """Notify a task: one of its calls ends because of the end of the connection.

        Args:
            task: The user's task.
            provisionally: Another task reports this, before the call itself can.
        """
        task.notify()
        running = self._backend.current_task()
        # A task outside this connection has no backend task here, because it is never cancelled.
        is_group = task.task is not None and task.task is not running
        if self._abnormal is not None and not provisionally and is_group:
            if not self._notified:
                self._backend.timer.watch(self._follow_notified)
            self._notified.append((task, running))
        if task.notifications == CALLS_AFTER_END and running is not None:
            warn_of_calls(self._scope, self._backend.name_of(running))
        self.stop_who_must()

    def retract(self, task: UserTask) -> None:
        """Retract a provisional notification, because the call was cancelled before it ended."""
        task.retract()
        self._stop(task)

    def _follow_notified(self) -> bool:
        """Retract a notification when the task that it reached has ended.

        The siblings of that task, in a group that the user's task opened, were never notified.
        """
        finished = [each for each in self._notified if self._backend.is_finished(each[1])]
        self._notified = [each for each in self._notified if each not in finished]
        for task, _ in finished:
            if task in self._running:
                self.retract(task)
        return bool(self._notified)

    # -------------------------------------------------------------------------- having to stop

    def end(self, *, abnormal: bool) -> None:
        """The connection has ended: cancel the tasks that must stop."""
        self._abnormal = abnormal
        self.stop_who_must()

    def end_grace(self) -> None:
        """The grace period is over: cancel every task that is left."""
        late = [task.task for task in self._running if not task.scope.cancel_called]
        self._raise_level(CancelLevel.ALL)
        warn_of_grace(self._scope, [self._backend.name_of(task) for task in late if task])

    def stop_who_must(self) -> None:
        """Cancel the tasks that must stop by now; see `who_must_stop`."""
        if self._abnormal is None or self._level >= CancelLevel.NOT_NOTIFIED:
            return
        readers = [task for task in self._running if task.reads]
        if self._outsider is not None and self._outsider.reads:
            readers.append(self._outsider)
        level = who_must_stop(
            abnormal=self._abnormal,
            unread=self._unread(),
            ever_read=self.ever_read,
            may_read=any(not reader.notified for reader in readers),
            body_finished=self._body_finished,
        )
        self._raise_level(level)

    def _raise_level(self, level: CancelLevel) -> None:
        if level > self._level:
            self._level = level
            self._stop(*self._running)

    def _stop(self, *tasks: UserTask) -> None:
        """Cancel those of them that must stop by now."""
        stopping = [task for task in tasks if self._level >= task.cancelled_at]
        news = [task.number for task in stopping if not task.scope.cancel_called]
        for task in stopping:
            if task is self.body:
                self.ledger.about_to_cancel()
            task.scope.cancel()
        if news:
            late = self._level is CancelLevel.ALL
            self._observers.cancelled("grace_period" if late else "disconnected", news)

    # ------------------------------------------------------------------------------ the children

    def _join(self, name: object) -> UserTask:
        """Make room for one more child; ``name`` is its name, or its function."""
        self._children += 1
        task = UserTask(self.token, self._backend.cancel_scope(), self._children)
        self._running.append(task)
        self._observers.task_started(task.number, name)
        self._stop(task)
        return task

    def start_soon(
        self, func: Callable[..., Awaitable[object]], args: tuple[Any, ...], name: object
    ) -> None:
        """Start a child."""
        group = self._open_group()
        group.start_soon(self._run_child, self._join(name), func, args, name=name)

    async def start(
        self,
        func: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        name: object,
        disconnected: Callable[[], WebSocketDisconnected],
    ) -> Any:
        """Start a child and wait until it has started.

        ``disconnected`` makes the exception for a starter whose child the end has stopped.
        """
        group = self._open_group()
        task = self._join(name)
        return await group.start(self._run_started_child, task, func, args, disconnected, name=name)

    def _open_group(self) -> TaskGroup:
        # Without a task in it, the group is being left, and no task may be started in it.
        if self.group is None or (self._body_finished and not self._running):
            raise _left()
        return self.group

    async def _run_child(
        self,
        task: UserTask,
        func: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
    ) -> None:
        """Run a child. Its exception is recorded and leaves through the block."""
        task.task = self._backend.current_task()
        set_enclosing_tasks((*self.outer, task))
        error: BaseException | None = None
        with fenced():
            try:
                with task.scope:
                    await func(*args)
            except BaseException as exc:  # noqa: ASYNC103, BLE001 - it leaves through the block
                error = exc
        self._child_ended(task, error)
        del error  # this frame is in its traceback

    async def _run_started_child(  # noqa: ASYNC128 - `func` calls started()
        self,
        task: UserTask,
        func: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        disconnected: Callable[[], WebSocketDisconnected],
        *,
        task_status: TaskStatus[Any],
    ) -> None:
        """Run a child whose starter waits. Until it has started, its errors go to the starter."""
        status = _Started(task_status)
        task.task = self._backend.current_task()
        set_enclosing_tasks((*self.outer, task))
        error: BaseException | None = None
        with fenced():
            try:
                with task.scope:
                    await func(*args, task_status=status)
                if task.scope.cancelled_caught and not status.called:
                    raise disconnected()
            except BaseException as exc:  # noqa: ASYNC103 - as in `_run_child`
                if not status.called:
                    self._part(task, exc, stopped=task.scope.cancelled_caught)
                    self.stop_who_must()
                    raise
                error = exc
        self._child_ended(task, error)
        del error  # this frame is in its traceback

    def _child_ended(self, task: UserTask, error: BaseException | None) -> None:
        self._part(task, error, stopped=task.scope.cancelled_caught)
        if error is not None:
            if self.is_failure(error):
                self.fail(Raiser.CHILD, error)
            elif self.is_own(error):
                # The child has simply ended. Only an error that its exception hides is recorded.
                self.failures.append(Raised(Raiser.CHILD, error))
        self.stop_who_must()

    def finish_body(self, error: BaseException | None, *, stopped: bool) -> None:
        """The body of the block has been left.

        Args:
            error: What it raised.
            stopped: Whether the connection has cancelled it, and the cancellation ended it.
        """
        self._body_finished = True
        self._part(self.body, error, stopped=stopped)
        self.stop_who_must()
        if error is not None:
            failed = self.is_failure(error)
            self.failures.append(Raised(Raiser.BODY, error))
            if failed:
                self._cancel()

    def _part(self, task: UserTask, error: BaseException | None, *, stopped: bool) -> None:
        """A task has ended: stopped by the connection, cancelled by other code, or by itself."""
        self._running.remove(task)
        task.task = None
        is_cancelled = error is not None and is_cancellation(error)
        if is_cancelled and not self._cancelled and not task.scope.cancel_called:
            self._cancelled = True
            self._observers.cancelled("outside", ())
        shown = None if is_cancelled else error
        self._observers.task_ended(task.number, shown, cancelled=stopped or is_cancelled)

    # -------------------------------------------------------------------------------- failures

    def is_own(self, exc: BaseException) -> bool:
        """Whether an exception is about the end of this connection."""
        return is_attributed(exc, self.token)

    def is_failure(self, error: BaseException) -> bool:
        """Whether an error contains more than this connection's end and cancellations."""
        return without(error, lambda exc: self.is_own(exc) or is_cancellation(exc)) is not None

    @property
    def has_failed(self) -> bool:
        """Whether anything failed, apart from the end of the connection and cancellations."""
        return any(self.is_failure(failure.error) for failure in self.failures)

    def fail(self, source: Raiser, error: BaseException) -> None:
        """Record a failure and cancel all tasks, as a nursery does."""
        self.failures.append(Raised(source, error))
        self._cancel()

    def _cancel(self) -> None:
        if self.group is not None:
            self.group.cancel_scope.cancel()
            if self._running and not self._cancelled:
                self._cancelled = True
                self._observers.cancelled("failed", [task.number for task in self._running])

    def release(self) -> None:
        """Drop all references to the tasks, because every task has finished."""
        self.group = None
        self.outer = ()
        self.ledger = NO_LEDGER
        self.failures.clear()
        self._notified.clear()
        self._backend.timer.unwatch(self._follow_notified)


def _left() -> anyio.ClosedResourceError:
    return anyio.ClosedResourceError("the `async with` block of this WebSocket has been left")


class _Started:
    """A task status that remembers whether it was called."""

    def __init__(self, status: TaskStatus[Any]) -> None:
        self._status = status
        self.called = False

    def started(self, value: Any = None) -> None:
        """Pass the value on to the starter."""
        self._status.started(value)
        self.called = True
