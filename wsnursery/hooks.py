"""What happens to a connection, as events for whoever observes it.

A hook is any callable that takes one event::

    def hook(event: hooks.Event) -> None:
        if isinstance(event, hooks.Closed):
            print(event.connection, event.code)

    options = Options(hooks=[hook])

Hooks are called in the event loop, in the order in which they stand in ``Options.hooks``, by the
task in which the thing happened and right after it. A hook must not wait: it counts, writes a line
or puts the event somewhere. It may queue messages on *other* connections, such as those of a
dashboard. A hook that raises is logged with its traceback and not called again for that connection;
the connection goes on as if nothing had been.

The events of one connection, in the order in which they can come:

========================  =========================================================================
`Opened`                  the block was entered; always the first
`Accepted`                the handshake is complete
`TaskStarted`             a child was started
`MessageReceived`         a message came in
`MessageSent`             the server has taken a message
`BufferFull`              a message found no room
`Dropped`                 messages were given up
`SendFailed`              the server's ``send`` raised
`Disconnected`            the connection ended, and how
`Cancelled`               tasks of the application were cancelled, and why
`TaskEnded`               the body or a child has ended: its clean-up has run
`Closed`                  the block was left, and with what; always the last
========================  =========================================================================
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias
from uuid import UUID

from ._errors import WebSocketDisconnected, escaped

if TYPE_CHECKING:
    from ._statistics import WebSocketStatistics
    from ._types import Message, Scope

Ending: TypeAlias = Literal["returned", "disconnected", "cancelled", "failed"]
"""How a task or a block has ended, in one word.

No exception, a `WebSocketDisconnected`, a cancellation, or any other exception."""


@dataclass(frozen=True, slots=True)
class Event:
    """What all events have."""

    connection: UUID
    """Which connection: `WebSocket.id`, a random UUID, unique on all machines."""
    time: float
    """When, on the clock of the event loop (``anyio.current_time()``), in seconds."""


@dataclass(frozen=True, slots=True)
class Opened(Event):
    """The block was entered: the tasks of the connection run. The first event."""

    scope: Scope
    """The handshake as an ASGI scope. What is in it comes from the peer: escape it."""


@dataclass(frozen=True, slots=True)
class Accepted(Event):
    """The server has taken the accept: messages flow from now on."""

    subprotocol: str | None
    """The subprotocol that was accepted, if one was."""


@dataclass(frozen=True, slots=True)
class TaskStarted(Event):
    """A child was started. The body of the block is there from `Opened` on, as task 0."""

    task: int
    """Counts up from 1 in this connection."""
    name: str
    """The name given to `WebSocket.start_soon`, or that of the function."""


@dataclass(frozen=True, slots=True)
class MessageReceived(Event):
    """The peer's message has come in; it may still have to wait for its reader."""

    message: Message
    """The message itself, peer's data: a hook that keeps it keeps its memory."""
    size: int
    """Its payload, in bytes."""


@dataclass(frozen=True, slots=True)
class MessageSent(Event):
    """The server has taken a message. That it has reached the peer is more than anyone knows."""

    message: Message
    """The message itself: a hook that keeps it keeps its memory."""
    size: int
    """Its payload, in bytes."""


@dataclass(frozen=True, slots=True)
class BufferFull(Event):
    """A message found no room, in messages or in bytes.

    A received one waits and so does the peer; `WebSocket.send_nowait` has raised
    ``anyio.WouldBlock``; in a room the member's ``overflow`` decides.
    """

    buffer: Literal["receive", "send"]
    """Which one: ``Options.receive_buffer`` or ``Options.send_buffer``, or their bytes."""


@dataclass(frozen=True, slots=True)
class Dropped(Event):
    """Messages were given up: the connection ended or was closed, or a room's member was full."""

    buffer: Literal["receive", "send"]
    """Whether nobody will read them or the peer will not get them."""
    messages: int
    """How many, at least 1."""


@dataclass(frozen=True, slots=True)
class SendFailed(Event):
    """The server's ``send`` raised. If that means that the peer is gone, `Disconnected` follows."""

    error: BaseException
    """What it raised. Its traceback holds frames: a hook that keeps it keeps those."""


@dataclass(frozen=True, slots=True)
class Disconnected(Event):
    """The connection has ended, whoever ended it; nothing can be exchanged any more."""

    code: int | None
    """The close code that was said first, by either side; `None` if none was."""
    reason: str
    """Its reason; it may be the peer's text: escape it."""
    broken: bool
    """It ended without a close: what was buffered is dropped and all tasks are cancelled.
    Otherwise what the peer sent before can still be read."""
    cause: BaseException | None
    """The server's exception or a `TimeoutError`, where there was one. Its traceback holds frames:
    a hook that keeps it keeps those."""


@dataclass(frozen=True, slots=True)
class Cancelled(Event):
    """Tasks of the application were told to stop. They have not ended yet, see `TaskEnded`."""

    reason: Literal["disconnected", "failed", "grace_period", "outside"]
    """``"disconnected"``: the connection ended and they would not have noticed. ``"failed"``:
    another task or the connection failed. ``"grace_period"``: they were told and have not ended in
    time. ``"outside"``: the scope around the block or `WebSocket.cancel_scope` was cancelled; known
    only once the tasks have ended."""
    tasks: tuple[int, ...]
    """Which: 0 is the body, see `TaskStarted`. Empty if that is unknown (``"outside"``)."""


@dataclass(frozen=True, slots=True)
class TaskEnded(Event):
    """The body or a child has ended, its ``finally`` and ``except`` blocks included."""

    task: int
    """0 for the body, see `TaskStarted`."""
    error: BaseException | None
    """What left it; `None` if it returned, and if it was cancelled because it had to stop. Its
    traceback holds frames: a hook that keeps it keeps those."""
    cancelled: bool
    """A cancellation ended it."""

    @property
    def ending(self) -> Ending:
        """The same in one word. An error counts, also that of a task which was being cancelled."""
        return "cancelled" if self.cancelled and self.error is None else _ending(self.error)


@dataclass(frozen=True, slots=True)
class Closed(Event):
    """The block was left and all its tasks have ended. The last event."""

    code: int | None
    """The close code that was said first, by either side; `None` if none was."""
    reason: str
    """Its reason; it may be the peer's text: escape it."""
    outcome: BaseException | None
    """What the block raises: a `WebSocketDisconnected`, the application's own error, a
    cancellation, or nothing. Its traceback holds frames: a hook that keeps it keeps those."""
    statistics: WebSocketStatistics
    """The last word of the counters."""

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

    A hook with an attribute ``messages`` that is `False` is spared `MessageReceived` and
    `MessageSent`. When all are, these events are not even made: a message costs then what it costs
    without hooks.
    """

    def __call__(self, event: Event, /) -> None:
        """Take one event. Called in the event loop; must not wait. No checkpoint."""


class LoggingHook:
    """A hook that logs one line when a block is entered and one when it is left.

    The texts are such as ``websocket opened: /chat from 192.0.2.1`` and ``websocket closed: /chat
    with code 1000 after 12.3 s, returned``. All there is to know is in ``extra``, for a formatter
    that writes it, such as one for JSON. These keys are there in every record, `None` where there
    is nothing to say:

    ===========================  ==================================================================
    ``ws_id``                    `WebSocket.id`, as text
    ``ws_path``                  the path, without the query
    ``ws_client``                the address of the client, without the port
    ``ws_accepted``              whether the handshake was completed
    ``ws_subprotocol``           the subprotocol that was accepted
    ``ws_duration``              seconds since the block was entered
    ``ws_code``, ``ws_reason``   how the connection was closed
    ``ws_ending``                how the block was left: one of `Ending`
    ``ws_error``, ``ws_cause``   the class of what the block raises, and of its cause
    ``ws_messages_received``     and ``ws_messages_sent``, ``ws_bytes_received``, ``ws_bytes_sent``
    ===========================  ==================================================================

    The level is ``INFO``, also for a connection that broke: clients vanish every day. It is
    ``WARNING`` when the application failed; the server logs that with its traceback, as an error.
    What comes from the peer is escaped and cut at 200 characters.

    Args:
        logger: Where the lines go; `None`: the logger ``wsnursery.connections``.
    """

    messages: bool = False
    """It does not listen to messages, see `Hook`."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger or logging.getLogger("wsnursery.connections")
        self._open: dict[UUID, tuple[float, dict[str, Any]]] = {}

    def __call__(self, event: Event, /) -> None:
        """Take one event. No checkpoint."""
        match event:
            case Opened():
                facts = _NOTHING | {
                    "ws_id": str(event.connection),
                    "ws_path": escaped(event.scope.get("path", "")),
                    "ws_client": _host(event.scope.get("client")),
                    "ws_accepted": False,
                }
                self._open[event.connection] = event.time, facts
                self._logger.info(
                    "websocket opened: %s from %s",
                    facts["ws_path"],
                    facts["ws_client"] or "an unknown client",
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


_NOTHING: dict[str, Any] = dict.fromkeys(
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
"""What every record has in `LoggingHook`."""


def _host(client: Any) -> str | None:
    return escaped(str(client[0])) if client else None


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
