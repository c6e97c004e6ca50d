"""Hooks: observers that receive the events of a connection.

A hook is any callable that takes one event::

    def hook(event: hooks.Event) -> None:
        if isinstance(event, hooks.Closed):
            print(event.connection, event.code)

    options = Options(hooks=[hook])

Hooks are called in the event loop, in the order of ``Options.hooks``, by the task in which the
event happened and directly after it. A hook must not wait: it counts, writes a line or puts the
event into a queue. It may queue messages on *other* connections, such as those of a dashboard. If a
hook raises, the exception is logged with its traceback, and the hook is not called again for that
connection. The connection is not affected.

The events of one connection, in the order in which they can come:

========================  =========================================================================
`Opened`                  the block was entered; always the first
`Accepted`                the handshake is complete
`TaskStarted`             a child was started
`MessageReceived`         a message was received
`MessageSent`             the server has taken a message
`BufferFull`              there was no room for a message
`Dropped`                 messages were dropped
`SendFailed`              the server's ``send`` raised
`Disconnected`            the connection ended, and how
`Cancelled`               tasks of the application were cancelled, and why
`TaskEnded`               the body or a child has ended: its clean-up has run
`Closed`                  the block was left, and its outcome; always the last
========================  =========================================================================
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias
from uuid import UUID

from ._errors import WebSocketDisconnected, escaped
from ._log_fields import UNKNOWN_CLIENT, fields_of

if TYPE_CHECKING:
    from ._statistics import WebSocketStatistics
    from ._types import Message, Scope

Ending: TypeAlias = Literal["returned", "disconnected", "cancelled", "failed"]
"""How a task or a block has ended, in one word.

In this order: without an exception, by a `WebSocketDisconnected`, by a cancellation, by any other
exception."""


@dataclass(frozen=True, slots=True)
class Event:
    """The attributes of all events."""

    connection: UUID
    """The connection: `WebSocket.id`, a random UUID that is unique across machines."""
    time: float
    """The time in seconds, on the clock of the event loop (``anyio.current_time()``)."""


@dataclass(frozen=True, slots=True)
class Opened(Event):
    """The block was entered: the tasks of the connection run. The first event."""

    scope: Scope
    """The handshake as an ASGI scope. Its content comes from the peer, so escape it."""


@dataclass(frozen=True, slots=True)
class Accepted(Event):
    """The server has taken the accept. From now on messages can be exchanged."""

    subprotocol: str | None
    """The accepted subprotocol, if there is one."""


@dataclass(frozen=True, slots=True)
class TaskStarted(Event):
    """A child was started. The body of the block is task 0, and exists from `Opened` on."""

    task: int
    """The number of the child, counted from 1 in each connection."""
    name: str
    """The name that was given to `WebSocket.start_soon`, or the name of the function."""


@dataclass(frozen=True, slots=True)
class MessageReceived(Event):
    """A message from the peer was received. It may still wait for its reader."""

    message: Message
    """The message, which is data from the peer. A hook that keeps it also keeps its memory."""
    size: int
    """The payload of the message, in bytes."""


@dataclass(frozen=True, slots=True)
class MessageSent(Event):
    """The server has taken a message. It is not known whether the message reached the peer."""

    message: Message
    """The message. A hook that keeps it also keeps its memory."""
    size: int
    """The payload of the message, in bytes."""


@dataclass(frozen=True, slots=True)
class BufferFull(Event):
    """There was no room for a message, in messages or in bytes.

    For the receive buffer, the message waits, and so does the peer. For the send buffer,
    `WebSocket.send_nowait` has raised ``anyio.WouldBlock``, or the member's ``overflow`` policy
    decides in a room.
    """

    buffer: Literal["receive", "send"]
    """The full buffer: that of ``Options.receive_buffer`` or of ``Options.send_buffer``."""


@dataclass(frozen=True, slots=True)
class Dropped(Event):
    """Messages were dropped, because the connection ended or because a room's member was full."""

    buffer: Literal["receive", "send"]
    """``"receive"`` for unread messages, ``"send"`` for messages that the peer will not get."""
    messages: int
    """The number of messages, at least 1."""


@dataclass(frozen=True, slots=True)
class SendFailed(Event):
    """The server's ``send`` raised. If that means that the peer is gone, `Disconnected` follows."""

    error: BaseException
    """The exception. A hook that keeps it also keeps the frames of its traceback."""


@dataclass(frozen=True, slots=True)
class Disconnected(Event):
    """The connection has ended, from either side. No more messages can be exchanged."""

    code: int | None
    """The first close code from either side; `None` if there was none."""
    reason: str
    """The close reason. It may be text from the peer, so escape it."""
    broken: bool
    """True for an abnormal end: the buffers are dropped and the tasks are cancelled. False for a
    clean end: messages that the peer sent before can still be read."""
    cause: BaseException | None
    """The server's exception or a `TimeoutError`, if there was one. A hook that keeps it also keeps
    the frames of its traceback."""


@dataclass(frozen=True, slots=True)
class Cancelled(Event):
    """Tasks of the application were cancelled. They end later, see `TaskEnded`."""

    reason: Literal["disconnected", "failed", "grace_period", "outside"]
    """``"disconnected"``: the connection ended, and the tasks were not notified. ``"failed"``:
    another task or the connection failed. ``"grace_period"``: the tasks were notified and have not
    ended in time. ``"outside"``: the scope around the block or `WebSocket.cancel_scope` was
    cancelled. This is known only when the tasks have ended."""
    tasks: tuple[int, ...]
    """The tasks; 0 is the body, see `TaskStarted`. Empty if they are unknown (``"outside"``)."""


@dataclass(frozen=True, slots=True)
class TaskEnded(Event):
    """The body or a child has ended, including its ``finally`` and ``except`` blocks."""

    task: int
    """0 for the body, see `TaskStarted`."""
    error: BaseException | None
    """The exception that left the task. `None` if it returned, or if the library cancelled it. A
    hook that keeps the exception also keeps the frames of its traceback."""
    cancelled: bool
    """Whether a cancellation ended the task."""

    @property
    def ending(self) -> Ending:
        """How the task ended, in one word. An error takes precedence over a cancellation."""
        return "cancelled" if self.cancelled and self.error is None else _ending(self.error)


@dataclass(frozen=True, slots=True)
class Closed(Event):
    """The block was left and all its tasks have ended. The last event."""

    code: int | None
    """The first close code from either side; `None` if there was none."""
    reason: str
    """The close reason. It may be text from the peer, so escape it."""
    outcome: BaseException | None
    """What the block raises: a `WebSocketDisconnected`, the application's own error, a
    cancellation, or nothing. A hook that keeps it also keeps the frames of its traceback."""
    statistics: WebSocketStatistics
    """The final values of the counters."""

    @property
    def ending(self) -> Ending:
        """The outcome in one word."""
        return _ending(self.outcome)


def _ending(error: BaseException | None) -> Ending:
    match error:
        case None:
            return "returned"
        case WebSocketDisconnected():
            return "disconnected"
        case Exception() | BaseExceptionGroup() | KeyboardInterrupt() | SystemExit():
            return "failed"
        case _:
            return "cancelled"


class Hook(Protocol):
    """A callable that takes one event; functions and bound methods are hooks.

    A hook with an attribute ``messages`` that is `False` does not receive `MessageReceived` and
    `MessageSent`. If this is so for all hooks, these events are not created, and a message costs as
    much as without hooks.
    """

    def __call__(self, event: Event, /) -> None:
        """Handle one event. Called in the event loop. It must not wait. Not a checkpoint."""


class LoggingHook:
    """A hook that logs one line when a block is entered and one when it is left.

    Examples are ``websocket opened: /chat from 192.0.2.1`` and ``websocket closed: /chat with code
    1000 after 12.3 s, returned``. All details are in ``extra``, for a formatter that writes them,
    such as one for JSON. Every record has these keys; the value is `None` if it does not apply:

    ===========================  ==================================================================
    ``ws_id``                    `WebSocket.id`, as text
    ``ws_path``                  the path, without the query
    ``ws_client``                the address of the client, without the port
    ``ws_accepted``              whether the handshake was completed
    ``ws_subprotocol``           the accepted subprotocol
    ``ws_duration``              seconds since the block was entered
    ``ws_code``, ``ws_reason``   how the connection was closed
    ``ws_ending``                how the block was left: one of `Ending`
    ``ws_error``, ``ws_cause``   the class of what the block raises, and of its cause
    ``ws_messages_received``     and ``ws_messages_sent``, ``ws_bytes_received``, ``ws_bytes_sent``
    ===========================  ==================================================================

    The level is ``INFO``, even for an abnormal end, because clients vanish all the time. It is
    ``WARNING`` if the application failed; the server logs that failure with its traceback, as an
    error. Text from the peer is escaped and cut at 200 characters.

    Args:
        logger: The logger to use; `None` means the logger ``wsnursery.connections``.
    """

    messages: bool = False
    """False, because it needs no events about messages, see `Hook`."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("wsnursery.connections")
        self._open: dict[UUID, tuple[float, dict[str, Any]]] = {}

    def __call__(self, event: Event, /) -> None:
        """Handle one event. Not a checkpoint."""
        match event:
            case Opened():
                facts: dict[str, Any] = _EMPTY_FIELDS | fields_of(event.scope, event.connection)
                facts["ws_accepted"] = False
                self._open[event.connection] = event.time, facts
                self._logger.info(
                    "websocket opened: %s from %s",
                    facts["ws_path"],
                    facts["ws_client"] or UNKNOWN_CLIENT,
                    extra=facts,
                )
            case Accepted():
                _, facts = self._open[event.connection]
                facts["ws_accepted"] = True
                facts["ws_subprotocol"] = event.subprotocol and escaped(event.subprotocol)
            case Closed():
                begin, facts = self._open.pop(event.connection)
                facts |= _outcome(event) | {"ws_duration": event.time - begin}
                level = logging.WARNING if event.ending == "failed" else logging.INFO
                self._logger.log(
                    level,
                    "websocket closed: %s with %s after %.1f s, %s",
                    facts["ws_path"],
                    "no code" if facts["ws_code"] is None else f"code {facts['ws_code']}",
                    facts["ws_duration"],
                    facts["ws_ending"],
                    extra=facts,
                )
            case _:
                pass


_EMPTY_FIELDS: dict[str, Any] = dict.fromkeys(
    (
        "ws_id",
        "ws_path",
        "ws_client",
        "ws_accepted",
        "ws_subprotocol",
        "ws_duration",
        "ws_code",
        "ws_reason",
        "ws_ending",
        "ws_error",
        "ws_cause",
        "ws_messages_received",
        "ws_messages_sent",
        "ws_bytes_received",
        "ws_bytes_sent",
    )
)
"""The keys of every record of `LoggingHook`."""


def _outcome(event: Closed) -> dict[str, Any]:
    counters, outcome = event.statistics, event.outcome
    cause = outcome and outcome.__cause__
    return {
        "ws_code": event.code if event.code is None else int(event.code),
        "ws_reason": escaped(event.reason),
        "ws_ending": event.ending,
        "ws_error": outcome and type(outcome).__name__,
        "ws_cause": cause and type(cause).__name__,
        "ws_messages_received": counters.messages_received,
        "ws_messages_sent": counters.messages_sent,
        "ws_bytes_received": counters.bytes_received,
        "ws_bytes_sent": counters.bytes_sent,
    }
