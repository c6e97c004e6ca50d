"""The application's tasks of one connection: who was told of the end, and who must stop.

`_tasks` has the words and the decision; here it is applied.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import anyio

from wsnursery._backend.cancellation import NO_HOST, Host, current_host, is_cancellation
from wsnursery._errors import WebSocketDisconnected, is_attributed

from .inbox import Inbox
from .observers import Observers
from .outcome import Failure, Source, without
from .stopping import (
    Cut,
    Participant,
    current_lineage,
    current_participant,
    set_lineage,
    who_must_stop,
)

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus


class Application:
    """The body of the block and the children.

    Args:
        origin: Which connection this is, in exceptions and lineages.
        inbox: Whether something is unread decides who may go on after an orderly end.
        observers: Are told of the tasks.
    """

    def __init__(self, origin: object, inbox: Inbox, observers: Observers) -> None:
        self.origin = origin
        self._inbox = inbox
        self._observers = observers
        self.group: TaskGroup | None = None
        """The task group of body and children; `None` when it has been left."""
        self.host: Host = current_host()
        self.outer_lineage: tuple[Participant, ...] = current_lineage()
        """What the block is part of; its children are part of that too."""
        self.body: Participant = Participant(origin)
        self.failures: list[Failure] = []
        """Everything that was raised, in the order in which it happened."""
        self.ever_read: bool = False
        self._participants: dict[Participant, None] = {self.body: None}
        """The body and the children that have not finished, in the order of their start."""
        self._children = 0
        """How many were ever started."""
        self._readers: set[Participant] = set()
        """Those of them that ever asked for a message."""
        self._body_finished = False
        self._broken: bool | None = None
        """How the connection ended; `None` until it has."""
        self._cut = Cut.NOBODY
        self._cancelled = False
        """All of it was cancelled: because something failed, or from outside."""

    @property
    def is_running(self) -> bool:
        """Somebody has not finished."""
        return bool(self._participants)

    def current(self) -> Participant:
        """The participant that the running task is part of."""
        return current_participant(self.origin) or self._stranger

    @cached_property
    def _stranger(self) -> Participant:
        """Stands for the tasks of somebody else that call: never cancelled, but it may read."""
        return Participant(self.origin)

    # ---------------------------------------------------------------------------- being told

    def note_reader(self, reader: Participant) -> None:
        """A participant asks for a message for the first time."""
        self.ever_read = reader.reads = True
        self._readers.add(reader)
        self.cut()

    def tell(self, participant: Participant) -> None:
        """One of its calls is ending because the connection did."""
        participant.tell()
        self.cut()

    def untell(self, participant: Participant) -> None:
        """That call was cancelled before it could say so."""
        participant.untell()
        self._cut_down(participant)

    # -------------------------------------------------------------------------- having to stop

    def end(self, *, broken: bool) -> None:
        """The connection has ended: cancel who must stop."""
        self._broken = broken
        self.cut()

    def end_grace(self) -> None:
        """The grace period is over: cancel whoever is left."""
        self._raise_cut(Cut.EVERYONE)

    def cut(self) -> None:
        """Cancel whoever must stop by now; see `who_must_stop`."""
        if self._broken is None:
            return
        cut = who_must_stop(
            broken=self._broken,
            unread=len(self._inbox) > 0,
            ever_read=self.ever_read,
            may_read=any(not reader.told for reader in self._readers),
            body_finished=self._body_finished,
        )
        self._raise_cut(cut)

    def _raise_cut(self, cut: Cut) -> None:
        if cut > self._cut:
            self._cut = cut
            self._cut_down(*self._participants)

    def _cut_down(self, *participants: Participant) -> None:
        """Cancel those of them that must stop by now."""
        falling = [each for each in participants if self._cut >= each.falls_at]
        news = [each.number for each in falling if not each.scope.cancel_called]
        for participant in falling:
            if participant is self.body:
                self.host.about_to_cut()
            participant.scope.cancel()
        if news:
            late = self._cut is Cut.EVERYONE
            self._observers.cancelled("grace_period" if late else "disconnected", news)

    # ------------------------------------------------------------------------------ the children

    def join(self, name: object) -> Participant:
        """Make room for one more child; ``name`` is its name, or its function."""
        self._children += 1
        participant = Participant(self.origin, self._children)
        self._participants[participant] = None
        self._observers.task_started(participant.number, name)
        self._cut_down(participant)
        return participant

    async def run_child(
        self,
        participant: Participant,
        func: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
    ) -> None:
        """Run a child; whatever it raises is noted and leaves through the block."""
        set_lineage((*self.outer_lineage, participant))
        error: BaseException | None = None
        try:
            with participant.scope, _sealed(participant.scope):
                await func(*args)
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it leaves through the block
            error = exc
        self._child_ended(participant, error)
        del error  # this frame is in its traceback

    async def run_started_child(  # noqa: ASYNC128 - `func` calls started()
        self,
        participant: Participant,
        func: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        disconnected: Callable[[], WebSocketDisconnected],
        *,
        task_status: TaskStatus[Any],
    ) -> None:
        """Run a child whose starter waits; until it has started, errors are the starter's.

        ``disconnected`` makes the exception for a starter whose child the end has cut short.
        """
        status = _Started(task_status)
        set_lineage((*self.outer_lineage, participant))
        error: BaseException | None = None
        try:
            with participant.scope, _sealed(participant.scope):
                await func(*args, task_status=status)
            if participant.scope.cancelled_caught and not status.called:
                raise disconnected()
        except BaseException as exc:  # noqa: ASYNC103 - as in `run_child`
            if not status.called:
                self._part(participant, exc, cut=participant.scope.cancelled_caught)
                self.cut()
                raise
            error = exc
        self._child_ended(participant, error)
        del error  # this frame is in its traceback

    def _child_ended(self, participant: Participant, error: BaseException | None) -> None:
        self._part(participant, error, cut=participant.scope.cancelled_caught)
        if error is not None and self.is_failure(error):
            self.fail(Source.CHILD, error)
        self.cut()

    def finish_body(self, error: BaseException | None, *, cut: bool) -> None:
        """The body of the block has been left.

        Args:
            error: What it raised.
            cut: The connection has cancelled it, and that ended it.
        """
        self._body_finished = True
        self._part(self.body, error, cut=cut)
        self.cut()
        if error is not None:
            failed = self.is_failure(error)
            self.failures.append(Failure(Source.BODY, error))
            if failed:
                self._cancel()

    def _part(self, participant: Participant, error: BaseException | None, *, cut: bool) -> None:
        """One of them has ended, cut by the connection, cancelled by somebody else or by itself."""
        del self._participants[participant]
        self._readers.discard(participant)
        is_cancelled = error is not None and is_cancellation(error)
        if is_cancelled and not self._cancelled and not participant.scope.cancel_called:
            self._cancelled = True
            self._observers.cancelled("outside", ())
        shown = None if is_cancelled else error
        self._observers.task_ended(participant.number, shown, cancelled=cut or is_cancelled)

    # -------------------------------------------------------------------------------- failures

    def is_own(self, exc: BaseException) -> bool:
        """Whether an exception speaks of this connection's end."""
        return is_attributed(exc, self.origin)

    def is_failure(self, error: BaseException) -> bool:
        """Whether there is more in an error than this connection's end and cancellations."""
        return without(error, lambda exc: self.is_own(exc) or is_cancellation(exc)) is not None

    @property
    def has_failed(self) -> bool:
        """Something failed, and not only because the connection ended."""
        return any(self.is_failure(failure.error) for failure in self.failures)

    def fail(self, source: Source, error: BaseException) -> None:
        """Something failed that ends the application: cancel it, as a nursery does."""
        self.failures.append(Failure(source, error))
        self._cancel()

    def _cancel(self) -> None:
        if self.group is not None:
            self.host.about_to_cut()
            self.group.cancel_scope.cancel()
            if self._participants and not self._cancelled:
                self._cancelled = True
                self._observers.cancelled("failed", [each.number for each in self._participants])

    def release(self) -> None:
        """Everybody has finished: let go of everything that leads to them."""
        self.group = None
        self.outer_lineage = ()
        self.host = NO_HOST
        self.failures.clear()


@contextmanager
def _sealed(scope: anyio.CancelScope) -> Generator[None]:
    """Let a scope that was cancelled end its own cancellation, whatever is cancelled around it.

    Without this, anyio (to 4.16 at least) hands the count of asyncio cancellations that the scope
    has asked for to the scope around it, although that one belongs to another task.
    """
    try:
        yield
    finally:
        if scope.cancel_called:
            scope.shield = True


class _Started:
    """A task status that remembers whether it was told."""

    def __init__(self, status: TaskStatus[Any]) -> None:
        self._status = status
        self.called = False

    def started(self, value: Any = None) -> None:
        """Pass the value on to the starter."""
        self._status.started(value)
        self.called = True
