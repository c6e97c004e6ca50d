"""`WebSocket`: the object of the application. It checks arguments, and the engine does the rest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, NoReturn, TypeAlias, final

from wsnursery._codes import check_close
from wsnursery._errors import LocalProtocolError, shown
from wsnursery._handshake import (
    check_accept_headers,
    check_body,
    check_reject_headers,
    check_status,
    check_subprotocol,
    origin_is_allowed,
)
from wsnursery._options import Options
from wsnursery._types import Headers

from .block import running
from .connection import THROUGH_TASKS, Connection, Sides
from .connection_log import ConnectionLog
from .events import Accept, Reject
from .incoming import IncomingSide
from .meaning import Interpreter, meaningless
from .messages import Messages
from .nursery import Nursery
from .one_block import check_leaver, claim
from .outgoing import OutgoingSide
from .payload import sized
from .request import Request
from .status import Status
from .transport import Transport

Handler: TypeAlias = Callable[["WebSocket"], Awaitable[object]]
"""An async function that is called with each connection."""


def make_websocket(
    transport: Transport,
    options: Options,
    sides: Sides = THROUGH_TASKS,
    interpret: Interpreter = meaningless,
) -> WebSocket:
    """Put a WebSocket over a transport.

    Args:
        transport: The server.
        options: The limits.
        sides: How messages are received and sent.
        interpret: What a failure of the application means.
    """
    ws = WebSocket.__new__(WebSocket)
    ws._transport = transport  # pyright: ignore[reportPrivateUsage]
    ws._options = options  # pyright: ignore[reportPrivateUsage]
    ws._sides = sides  # pyright: ignore[reportPrivateUsage]
    ws._interpret = interpret  # pyright: ignore[reportPrivateUsage]
    ws._connection_or_none = None  # pyright: ignore[reportPrivateUsage]
    return ws


@final
class WebSocket(Request, Messages, Nursery, Status):
    """One WebSocket connection with its own task group.

    ``open_websocket``, ``websocket_app`` and the other transports make it.
    All its tasks end together: the body of the ``async with`` block, the children started with
    `start_soon` and `start`, and the tasks that call the server.

    Any task of the event loop may call its methods, but only one task at a time may read. A call
    from another thread or event loop raises `RuntimeError` and changes nothing.

    After the block, methods raise ``anyio.ClosedResourceError``; the facts (`close_code`,
    `close_reason`, `state`, `statistics`) stay readable.
    """

    __slots__ = (
        "__weakref__",
        "_block",
        "_connection_or_none",
        "_incoming",
        "_interpret",
        "_options",
        "_outgoing",
        "_sides",
        "_transport",
    )

    _transport: Transport
    _options: Options
    _sides: Sides
    _connection_or_none: Connection | None
    _incoming: IncomingSide
    _outgoing: OutgoingSide
    _interpret: Interpreter
    _block: AsyncGenerator[None]

    def __init__(self) -> None:
        raise TypeError(
            "a WebSocket is made by the library: use `async with open_websocket(scope, receive, "
            "send) as ws`, or websocket_app"
        )

    async def __aenter__(self) -> WebSocket:
        """Start the receiver. No checkpoint, unless the origin is denied."""
        if self._connection_or_none is not None:
            raise LocalProtocolError(
                "this WebSocket's block has been entered before: a connection has one block, "
                "so call open_websocket() once per ASGI scope"
            )
        claim(self.scope)
        connection = Connection(self._transport, self._options, self._sides)
        self._connection_or_none = connection
        connection.interpret = self._interpret
        self._incoming, self._outgoing = connection.incoming, connection.outgoing
        self._block = running(connection)
        await anext(self._block)
        if not origin_is_allowed(self.scope, self._options.allowed_origins):
            await self._deny_origin()
        return self

    async def _deny_origin(self) -> None:
        origin = b", ".join(value for name, value in self.headers if name.lower() == b"origin")
        ConnectionLog(self.scope).info(
            "denied a WebSocket from origin %s", shown(origin.decode("latin-1"))
        )
        async with AsyncExitStack() as block:
            block.push_async_exit(self)
            await self.reject(403)
        raise self._connection.lifecycle.own_exception()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Wait for the children, flush, close, and wait for the answer of the peer."""
        connection = self._connection
        check_leaver(connection)
        block = self._block
        del self._block
        try:
            # Do it by hand, because contextlib's frames would form a cycle with the exception.
            with suppress(StopAsyncIteration):
                await (anext(block) if exc is None else block.athrow(exc))  # noqa: ASYNC102
            if exc is not None:
                with suppress(Exception):  # an exception may refuse to be changed
                    exc.__traceback__ = traceback  # without our own frames
            outcome = connection.outcome
            connection.release()
            if outcome is None or outcome is exc:
                # The body's own exception goes on as it is, with its traceback untouched.
                return outcome is None
            _raise_without_context(outcome)
        finally:
            del exc, traceback
            outcome = None

    def __getattr__(self, name: str) -> NoReturn:
        """Explain the error: the attributes of the engine exist only once it has been entered."""
        if name in ("_incoming", "_outgoing"):
            raise self._not_entered()
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        connection = self._connection_or_none
        if connection is None:
            return "<WebSocket not entered>"
        path = shown(str(self.scope.get("path", "")))
        unread, unsent = len(connection.incoming.inbox), len(connection.outgoing.outbox)
        counts = f"{unread} unread, {unsent} unsent"
        return f"<WebSocket {self.state} {path}: {counts}>"

    @property
    def _connection(self) -> Connection:
        if self._connection_or_none is None:
            raise self._not_entered()
        return self._connection_or_none

    def _not_entered(self) -> LocalProtocolError:
        return LocalProtocolError(
            "this WebSocket has not been entered: write "
            "`async with open_websocket(scope, receive, send) as ws:` and use `ws` inside"
        )

    # ------------------------------------------------------------------------------ the handshake

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was accepted; `None` before `accept` or if there is none."""
        return self._connection.lifecycle.subprotocol

    async def accept(self, subprotocol: str | None = None, headers: Headers = ()) -> None:
        """Complete the handshake. Call it once, before anything is sent or received.

        Waits until the server has announced the handshake and has taken the answer.

        Args:
            subprotocol: One of `subprotocols`, or `None` for none (RFC 6455 §4.2.2).
            headers: More response headers, pairs of bytes. The server writes those of the handshake
                and of the connection, such as ``upgrade`` and ``content-length``.

        Raises:
            ValueError: The subprotocol was not offered, or a header may not be sent. Nothing has
                changed.
            TypeError: The headers are not pairs of bytes.
            LocalProtocolError: It was already accepted or rejected.
            WebSocketDisconnected: The client left before the handshake was complete.

        *Checkpoint*: yes. *Cancellation*: an accept that has not been given to the server is
        withdrawn, and may be called again. One that the server has is completed anyway.
        """
        check_subprotocol(subprotocol, self.subprotocols)
        checked = tuple(check_accept_headers(headers))
        await self._connection.handshaking.accept(Accept(subprotocol, checked))

    async def reject(self, status: int = 403, headers: Headers = (), body: bytes = b"") -> None:
        """Deny the handshake with an HTTP response. Afterwards nothing can be sent.

        If the server does not announce the extension ``websocket.http.response`` (ASGI spec,
        "WebSocket Denial Response"), the client gets a plain 403, and a line is logged.

        Args:
            status: The HTTP status, from 300 to 599.
            headers: Response headers, pairs of bytes.
            body: The response's body, in bytes.

        Raises:
            ValueError: The status or a header may not be sent. Nothing has changed.
            TypeError: An argument has the wrong type.
            LocalProtocolError: It was already accepted or rejected.
            WebSocketDisconnected: The client has gone.

        *Checkpoint*: yes. *Cancellation*: the denial is sent anyway.
        """
        check_status(status)
        check_body(body)
        checked = tuple(check_reject_headers(headers, status, body))
        await self._connection.handshaking.reject(Reject(status, checked, body))

    # ------------------------------------------------------------------------------------ sending

    def send(self, message: str | bytes | bytearray | memoryview) -> Coroutine[Any, Any, None]:
        """Send a message and wait until the server has taken it.

        Messages of all tasks reach the server whole and in the order of the calls.

        Args:
            message: Text (`str`) or binary. `bytearray` and `memoryview` are copied at the call.
                Empty messages are messages.

        Raises:
            TypeError: The message is of another type. Nothing was queued.
            ValueError: The text holds a lone surrogate, which UTF-8 cannot encode.
            LocalProtocolError: `accept` has not been called.
            WebSocketDisconnected: The connection has ended; the message was not delivered.
            anyio.ClosedResourceError: After your own `close`, or after the block.
            Exception: The server raised it about this message. The connection stays open.

        *Checkpoint*: always, also when it raises. *Cancellation*: a message that has not been given
        to the server is withdrawn. One that the server has is sent whole. A partial message is
        never sent.
        """
        return self._outgoing.send(message)

    def send_nowait(self, message: str | bytes | bytearray | memoryview) -> None:
        """Queue a message without waiting, in order with `send`. For broadcasts.

        Args:
            message: As for `send`.

        Raises:
            anyio.WouldBlock: ``Options.send_buffer`` messages or ``send_buffer_bytes`` are queued
                already. Nothing was queued.
            TypeError, ValueError, LocalProtocolError, WebSocketDisconnected,
            anyio.ClosedResourceError: As for `send`.

        *Checkpoint*: no. If the message is lost later and no task was notified of the end, the
        block raises `WebSocketDisconnected`.
        """
        self._outgoing.send_nowait(*sized(message))

    async def flush(self) -> None:
        """Wait until the server has taken everything that was queued before this call.

        Raises:
            LocalProtocolError, WebSocketDisconnected, anyio.ClosedResourceError: As for `send`.

        *Checkpoint*: always. *Cancellation*: leaves the queue as it is.
        """
        await self._outgoing.flush()

    # ---------------------------------------------------------------------------------- receiving

    def receive(self) -> Coroutine[Any, Any, str | bytes]:
        """Wait for the next message, in the order in which the peer sent them.

        After a clean end the messages that had arrived are still delivered.

        Raises:
            WebSocketDisconnected: The connection has ended and nothing is left to read.
            LocalProtocolError: `accept` has not been called.
            anyio.BusyResourceError: Another task is reading. That task is not affected.
            anyio.ClosedResourceError: After your own `close`, or after the block.

        *Checkpoint*: always. If the call is refused (before `accept`, while another task reads,
        after the block), it only checks for a cancellation. *Cancellation*: loses nothing; the next
        call gets the message.
        """
        return self._incoming.next_message(False)

    def receive_nowait(self) -> str | bytes:
        """Return the next message if one has already arrived. As `receive` otherwise.

        Raises:
            anyio.WouldBlock: No message is waiting. Nothing has changed.
            WebSocketDisconnected, LocalProtocolError, anyio.BusyResourceError,
            anyio.ClosedResourceError: As for `receive`.

        *Checkpoint*: no. A loop that calls nothing else needs a checkpoint, because messages arrive
        only while other tasks run.
        """
        return self._incoming.next_message_nowait()

    def __aiter__(self) -> WebSocket:
        """Iterate over the messages: ``async for message in ws``.

        The loop ends by itself after a clean end, whatever its code, and after your `close`;
        it raises `WebSocketDisconnected` after an abnormal one. `close_code` says how it ended.
        """
        return self

    def __anext__(self) -> Awaitable[str | bytes]:
        """The next message; as `receive` otherwise."""
        return self._incoming.next_message(True)

    # ------------------------------------------------------------------------------------ closing

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Flush what is queued, then close; return when the server has taken the close.

        Idempotent: only the first call counts. Before `accept` it denies the handshake (403).
        Messages that still arrive are dropped. This call does not wait for the peer's answer, but
        leaving the block does. Other tasks are notified: a loop that reads ends, and a call that
        sends raises ``anyio.ClosedResourceError``. A child from which that escapes has simply
        ended.

        Args:
            code: 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 §7.4).
            reason: At most 123 bytes in UTF-8 (RFC 6455 §5.5).

        Raises:
            LocalProtocolError: The code or the reason may not be sent. Nothing has changed.
            TypeError: The code is not an `int` or the reason not a `str`.
            anyio.ClosedResourceError: After the block.

        *Checkpoint*: yes, bounded by ``Options.close_timeout``, after which the connection ends
        abnormally. *Cancellation*: the close is sent anyway.
        """
        check_close(code, reason)
        await self._connection.handshaking.close(code, reason)


def _raise_without_context(outcome: BaseException) -> NoReturn:
    """Raise without a context, because the exception of the body is not the reason."""
    context = outcome.__context__
    try:
        raise outcome
    finally:
        outcome.__context__ = context
        del outcome, context


def connection_of(ws: WebSocket) -> Connection:
    """The engine of a WebSocket, for the library's own modules."""
    return ws._connection  # pyright: ignore[reportPrivateUsage]


def is_about(exc: BaseException, ws: WebSocket) -> bool:
    """Whether an exception is about the end of this connection."""
    connection = ws._connection_or_none  # pyright: ignore[reportPrivateUsage]
    return connection is not None and connection.tasks.is_own(exc)
