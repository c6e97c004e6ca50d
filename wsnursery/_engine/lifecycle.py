"""The life of one connection, and the only code that sets its end.

Every event of the handshake, the close and the end passes through here. A connection has one end:
the first one counts. The listeners are notified once, then the tasks that must stop are cancelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import anyio

from wsnursery._backend.backend import Backend
from wsnursery._backend.cancellation import is_cancellation
from wsnursery._errors import WebSocketDisconnected, attribute
from wsnursery._options import Options

from .events import Close
from .observers import Observers
from .outcome import Raiser
from .states import State, StateMachine, Transition
from .tasks import UserTasks
from .user_task import UserTask
from .wire import NO_CONTROL, Wire

if TYPE_CHECKING:
    from wsnursery._backend.timer import Alarm
    from wsnursery._backend.wakeup import Wakeup


@dataclass(frozen=True, slots=True)
class End:
    """How the connection ended. Code and reason are in `StateMachine`: the first ones count."""

    abnormal: bool
    """Whether a raw call failed or took too long; then both buffers are dropped. Otherwise the
    server delivered the disconnect, and everything that the peer sent before it can still be
    read."""
    cause: BaseException | None
    """The server's exception, if there was one."""


class Listener(Protocol):
    """A part of the connection that is notified of its events."""

    def on_accepted(self) -> None:
        """The server has taken the accept."""
        ...

    def on_closing(self, close: Close | None) -> None:
        """This side closes or rejects: no more messages may be received or sent."""
        ...

    def on_end(self, end: End, close: Close | None) -> None:
        """The connection has ended. If ``close`` is given, it may still be sent."""
        ...


class Lifecycle:
    """The states of one connection, and its end."""

    __slots__ = (
        "_backend",
        "_closers",
        "_grace",
        "_late",
        "_observers",
        "_options",
        "end",
        "informed",
        "left",
        "listeners",
        "lost_unnoticed",
        "over",
        "own_close",
        "requested",
        "states",
        "subprotocol",
        "tasks",
        "token",
        "undelivered",
        "wire",
    )

    def __init__(
        self, tasks: UserTasks, options: Options, observers: Observers, backend: Backend
    ) -> None:
        self.states: StateMachine = StateMachine()
        self.tasks: UserTasks = tasks
        self.token: object = tasks.token
        """Identifies the connection in exceptions and contexts."""
        self.wire: Wire = Wire()
        self.listeners: Sequence[Listener] = ()
        """The parts that are notified of the accept, the close and the end, in this order."""
        self.over: bool = False
        """No more messages can be exchanged, after an end, a close or the exit of the block."""
        self.end: End | None = None
        self.own_close: bool = False
        """The application has closed or rejected."""
        self.left: bool = False
        """The block has been left, or no more tasks may be started in it."""
        self.undelivered: int = 0
        """The number of queued messages that the server never took."""
        self.lost_unnoticed: bool = False
        """Whether a message was lost for which no call was waiting."""
        self.informed: bool = False
        """Whether some call has reported the end of the connection."""
        self.subprotocol: str | None = None
        self.requested: Wakeup = backend.wakeup()
        """Wakes `accept`, which waits until the server has announced the handshake."""
        self._closers: list[UserTask] = []
        """The tasks that called close() or reject(); every other task sees a disconnect."""
        self._grace: Alarm | None = None
        """Ends the grace period."""
        self._late: Alarm | None = None
        """Ends the wait for the peer's answer to a close."""
        self._options = options
        self._observers = observers
        self._backend = backend

    # ------------------------------------------------------------------------------ the handshake

    def on_connect(self) -> None:
        """The server has announced the handshake."""
        self.states.apply(Transition.CONNECT)
        self.requested.wake()

    def on_accepted(self, subprotocol: str | None) -> None:
        """The server has taken the accept."""
        self.states.apply(Transition.ACCEPTED)
        self.subprotocol = subprotocol
        self._observers.accepted(subprotocol)
        for listener in self.listeners:
            listener.on_accepted()

    # ---------------------------------------------------------------------------- your own close

    def begin_close(self, code: int, reason: str) -> None:
        """Close after the queued messages. Only the first call counts."""
        if self.own_close:
            return
        self.states.apply(Transition.CLOSE)
        self._say_closing(Close(code, reason))

    def begin_reject(self) -> None:
        """Deny the handshake; the caller sends the denial.

        Raises:
            LocalProtocolError: It was already accepted or rejected.
        """
        self.states.apply(Transition.REJECT)
        self._say_closing(None)

    def _say_closing(self, close: Close | None) -> None:
        self.own_close = self.over = True
        for listener in self.listeners:
            listener.on_closing(close)

    def note_closer(self) -> None:
        """The running task has called close() or reject()."""
        closer = self.tasks.current()
        if closer not in self._closers:
            self._closers.append(closer)
        self.tasks.notify(closer)

    @property
    def is_closing(self) -> bool:
        """Whether this side has closed and the end has not come yet."""
        return self.states.state is State.CLOSING

    # ----------------------------------------------------------------------------------- the end

    def on_disconnect(self, code: int | None, reason: str, cause: BaseException | None) -> None:
        """The server has delivered the disconnect, with a close code if it has one.

        Args:
            code: The close code.
            reason: The close reason.
            cause: The exception that a raw send has raised at the same moment.
        """
        self.states.apply(Transition.DISCONNECT, (code, reason) if self.end is None else None)
        self._finish(End(abnormal=False, cause=cause), None)

    def end_abnormally(self, cause: BaseException | None) -> None:
        """End the connection abnormally: nothing more is sent, not even a close."""
        self.states.apply(Transition.END)
        if self.end is None and not self.states.close_taken:
            self.states.facts = None  # a code that was never sent does not count
        self._finish(End(abnormal=True, cause=cause), None)

    def close_for_a_limit(self, code: int, reason: str, cause: BaseException | None) -> None:
        """End the connection because a limit was exceeded. Earlier messages can still be read."""
        if self.own_close or self.end is not None:
            return
        self.states.apply(Transition.CLOSE)
        if self.states.state is State.CLOSING:  # a denial has no close code
            self.states.apply(Transition.CLOSE, (code, reason))
        self._finish(End(abnormal=False, cause=cause), Close(code, reason))

    def on_close_taken(self) -> None:
        """The server has taken the close or the denial: wait for the peer, for a limited time."""
        self.states.close_taken = True
        if self.end is not None:
            return
        # After a denial, and without a receiver task, no disconnect event can come.
        if self.states.state is State.REJECTED or not self.wire.control.is_receiving:
            self.close_is_done()
        else:
            late = self._backend.now() + self._options.close_timeout
            self._late = self._backend.timer.at(late, self.close_is_done)

    def close_is_done(self) -> None:
        """End the connection: your own close was sent, and no more events can come."""
        self.states.apply(Transition.END)
        self._finish(End(abnormal=False, cause=None), None)

    def abandon(self) -> None:
        """End the connection, because no task is left that could use it."""
        if self.end is None and not self.states.close_taken:
            self.end_abnormally(None)
        else:
            # After an end that this side caused, the server may not have taken the close yet.
            self.close_is_done()

    def _finish(self, end: End, close: Close | None) -> None:
        """Set the end, notify the listeners, then cancel the tasks that must stop. Once only."""
        if self.end is not None:
            for listener in self.listeners:
                listener.on_end(end, close)
            return
        self.end = end
        self.over = True
        for listener in self.listeners:
            listener.on_end(end, close)
        self._observers.disconnected(
            self.states.code, self.states.reason, abnormal=end.abnormal, cause=end.cause
        )
        # This comes last: the listeners have notified the tasks that wait, and those must not be
        # cancelled.
        tasks = self.tasks
        if tasks.is_running:
            at = self._backend.now() + self._options.grace_period
            self._grace = self._backend.timer.at(at, tasks.end_grace)
        tasks.end(abnormal=end.abnormal)

    def lose(self, messages: int, *, unnoticed: bool) -> None:
        """Count messages that the server never took."""
        self.undelivered += messages
        self.lost_unnoticed |= unnoticed

    def fail(self, source: Raiser, error: BaseException) -> None:
        """Record a failure, which ends the application."""
        self.tasks.fail(source, error)

    def service_ended(self, error: BaseException | None) -> None:
        """A service task has ended. If it raised, that is a bug or an interrupt."""
        if error is None:
            return
        if is_cancellation(error):
            self.end_abnormally(None)
            return
        if isinstance(error, Exception):
            error.add_note("this is a bug in wsnursery: please report it")
        self.fail(Raiser.CONNECTION, error)

    # ---------------------------------------------------------------------------- being notified

    def own_exception(self) -> WebSocketDisconnected:
        """A new exception with the facts of the end, chained to the server's exception."""
        own = WebSocketDisconnected(self.states.code, self.states.reason, self.undelivered)
        if self.end is not None and self.end.cause is not None:
            own.__cause__ = self.end.cause  # setting it, even to `None`, hides the context
        # The token identifies the connection, so that a block can tell its own disconnect from
        # another's.
        return attribute(own, self.token)

    def disconnected(self) -> WebSocketDisconnected:
        """The exception for the calling task, which it notifies."""
        self.note_notified()
        return self.own_exception()

    def note_notified(self) -> None:
        """Note that the running task is notified of the end."""
        self.informed |= self.end is not None
        self.tasks.notify(self.tasks.current())

    def closed_error(self) -> Exception:
        """The exception for a call that comes after the end or the close."""
        self.refuse_after_block()
        if self.own_close:
            self.note_notified()
            if self.tasks.current() in self._closers:
                return anyio.ClosedResourceError(
                    "this task has closed the WebSocket: no call can follow"
                )
            # For every other task it is a disconnect: a child that lets it escape simply ends.
            closed = anyio.ClosedResourceError("another task has closed the WebSocket")
            return attribute(closed, self.token)
        return self.disconnected()

    def refuse_after_block(self) -> None:
        """Raise if the block has been left.

        Raises:
            anyio.ClosedResourceError: It has been left.
        """
        if self.left:
            raise anyio.ClosedResourceError(
                "the `async with` block of this WebSocket has been left"
            )

    def check_place(self) -> None:
        """Refuse a call from another thread or event loop, before it changes anything.

        Raises:
            RuntimeError: The call comes from another thread or event loop.
        """
        self._backend.home.check()

    def check_can_send(self) -> None:
        """Raise if a message may not be sent now."""
        if self.over:
            raise self.closed_error()
        self.states.check(Transition.MESSAGE_OUT)

    # ------------------------------------------------------------------------------- after the end

    def leave(self) -> None:
        """The block is being left: from now on every call is refused."""
        self.left = self.over = True

    def release(self) -> None:
        """Release everything but the facts."""
        self.listeners = ()
        self.wire.control = NO_CONTROL
        self._closers.clear()
        for alarm in (self._grace, self._late):
            if alarm is not None:
                alarm.cancel()
        self._grace = self._late = None
        self.tasks.release()
        assert self.end is not None  # `abandon` has ended it
        # The cause's traceback leads to frames of the server.
        self.end = End(abnormal=self.end.abnormal, cause=None)


def second_reader() -> anyio.BusyResourceError:
    """The exception for a task that reads while another task is reading."""
    exc = anyio.BusyResourceError("receiving from")
    advice = (
        "another task is reading this WebSocket: let one task read, and let it hand messages to "
        "the others, for instance through anyio.create_memory_object_stream()"
    )
    exc.args = (advice,)
    return exc
