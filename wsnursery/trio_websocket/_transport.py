"""A connection of trio-websocket as a `Transport` of the engine."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import NoReturn

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest
from wsproto.utilities import LocalProtocolError

from wsnursery._codes import CloseCode
from wsnursery._engine.events import Accept, Close, Connect, Disconnect, Incoming, Outgoing, Reject
from wsnursery._engine.websocket import WebSocket, make_websocket
from wsnursery._options import Options
from wsnursery._types import Scope

from ._reader import BackgroundTasks
from ._stream import WatchedStream, broken_stream_in

CHECKPOINTS_FOR_REASON = 5
"""Checkpoints that a send has to raise the reason for which the stream broke, when the reader only
knows that it broke. A send that got the same error raises within a few of them."""


class TrioTransport:
    """One connection, of a client or of a server.

    The engine expects a handshake on every connection. Where the connection is open already, as a
    client's always is, `receive` announces it all the same, sending the `Accept` does nothing, and
    `receive` delivers messages only after that.

    Args:
        connection: The connection.
        scope: Its handshake in the form of an ASGI scope.
        tasks: The tasks behind the connection.
        options: The options, of which those about pings are used here.
        request: The handshake that is still to be answered; `None` for an open connection.
        stream: The stream below; `None` if the connection was opened by other code.
    """

    drains = False
    receive_blocks_close = False

    def __init__(
        self,
        connection: WebSocketConnection,
        scope: Scope,
        tasks: BackgroundTasks,
        options: Options,
        *,
        request: WebSocketRequest | None = None,
        stream: WatchedStream | None = None,
    ) -> None:
        self.scope = scope
        self.subprotocol = connection.subprotocol
        self.round_trip_time: float | None = None
        self._connection = connection
        self._tasks = tasks
        self._options = options
        self._request = request
        self._stream = stream

        self._announced = False
        self._accepted = trio.Event()
        self._closing = False
        self._close_is_out = trio.Event()
        self._error: Exception | None = None
        """Why the connection broke, if the stream does not know it."""

        # The time limit of an unanswered ping. It runs only while `receive` is called, because a
        # pong is behind the messages that the application has not received yet.
        self._ping_scope: trio.CancelScope | None = None
        self._receiving_since = math.inf

    # ---------------------------------------------------------------------------------- receiving

    async def receive(self) -> Incoming:
        """As `Transport.receive`."""
        if not self._announced:
            self._announced = True
            return Connect()
        # A message of an open connection must not overtake the accept that the engine still sends.
        if self._request is None:
            await self._accepted.wait()
        self._note_receiving(trio.current_time())
        try:
            return await self._connection.get_message()
        except ConnectionClosed:
            # Raised for a clean end as for a broken stream; `_end` finds out which it was.
            pass
        finally:
            self._note_receiving(math.inf)
        return await self._end()

    async def _end(self) -> Disconnect:
        """Return how the connection ended, or raise the error that broke it."""
        if self._closing:
            # The code of the end is in the peer's answer to the close frame.
            self._close_is_out.set()
            await self._tasks.peer_ended.wait()
        else:
            await self._find_error()
            error = self._cause()
            if error is not None:
                raise error
        closed = self._connection.closed
        assert closed is not None
        return Disconnect(closed.code, closed.reason or "")

    async def _find_error(self) -> None:
        if self._connection.closed is None:
            # trio-websocket sets `closed` unless its reader failed.
            await self._tasks.peer_ended.wait()
            self._error = self._tasks.error
        elif self._stream is None:
            # trio-websocket's reader drops the error; a send that got it may still report it.
            for _ in range(CHECKPOINTS_FOR_REASON):
                await trio.lowlevel.checkpoint()

    def _cause(self) -> Exception | None:
        if self._error is None and self._stream is not None:
            return self._stream.error
        return self._error

    # ------------------------------------------------------------------------------------ sending

    async def send(self, event: Outgoing) -> None:
        """As `Transport.send`."""
        try:
            await self._send(event)
        except (ConnectionClosed, LocalProtocolError) as exc:
            refusal = exc
        else:
            return
        # Outside of the `except` block, so that what is raised has no context of trio-websocket.
        await self._raise_cause(refusal)

    async def _send(self, event: Outgoing) -> None:
        if isinstance(event, str | bytes):
            await self._connection.send_message(event)
        elif isinstance(event, Accept):
            await self._accept(event)
        elif self._request is not None and not self._accepted.is_set():
            await _deny(self._request, event)
        else:
            assert isinstance(event, Close)
            await self._close(event)

    async def _raise_cause(self, exc: Exception) -> NoReturn:
        """Raise the error that closed the connection; wait if the peer has closed it."""
        self._error = self._error or broken_stream_in(exc)
        error = self._cause()
        if error is not None:
            raise error
        # The peer has closed the connection. The engine's receiver is about to receive that with
        # the code and the reason, and then cancels this call.
        await trio.sleep_forever()

    async def _accept(self, accept: Accept) -> None:
        if self._request is not None:
            await self._request.accept(
                subprotocol=accept.subprotocol, extra_headers=list(accept.headers)
            )
        self._accepted.set()
        if self._options.ping_interval is not None:
            self._tasks.run(partial(self._keep_alive, self._options.ping_interval))

    async def _close(self, close: Close) -> None:
        """Send the close frame. The peer's answer is received by `receive`."""
        self._closing = True
        # In the background, because `aclose` also waits for the answer, and the engine's sender
        # must not wait for that.
        self._tasks.run(partial(self._closing_handshake, close))
        await self._close_is_out.wait()

    async def _closing_handshake(self, close: Close) -> None:
        # `aclose` sends the frame and waits for the answer. It makes `get_message` raise as soon as
        # the frame is sent, so `receive` knows that too.
        await self._connection.aclose(close.code, close.reason)
        self._close_is_out.set()
        self._tasks.peer_ended.set()

    def sent_close(self) -> bool:
        """Whether this side has sent a close frame that does not answer the peer's.

        trio-websocket sends one without being asked when a message exceeds the limit.
        """
        closed = self._connection.closed
        return self._closing or (closed is not None and closed.code == CloseCode.MESSAGE_TOO_BIG)

    def says_gone(self, exc: Exception) -> bool:
        """As `Transport.says_gone`: true for a broken stream and for an unanswered ping."""
        return isinstance(exc, trio.BrokenResourceError) or exc is self._cause()

    def abort(self) -> bool:
        """As `Transport.abort`: not needed, because a cancellation ends every call on trio."""
        return False

    # -------------------------------------------------------------------------------------- pings

    async def _keep_alive(self, interval: float) -> None:
        while True:
            await trio.sleep(interval)
            sent_at = trio.current_time()
            with trio.CancelScope() as self._ping_scope:
                self._note_receiving(max(sent_at, self._receiving_since))
                try:
                    await self._connection.ping()
                except (ConnectionClosed, LocalProtocolError) as exc:
                    self._error = self._error or broken_stream_in(exc)
                    return
            # The scope ends a ping that took too long; the connection counts as lost then.
            if self._ping_scope.cancelled_caught:
                await self._fail_ping()
                return
            self._ping_scope = None
            self.round_trip_time = trio.current_time() - sent_at

    def _note_receiving(self, since: float) -> None:
        """Note since when `receive` has been running; infinity if it is not running."""
        self._receiving_since = since
        if self._ping_scope is not None:
            self._ping_scope.deadline = since + (self._options.ping_timeout or math.inf)

    async def _fail_ping(self) -> None:
        timeout = self._options.ping_timeout
        self._error = TimeoutError(f"the peer has not answered a ping within {timeout} s")
        await trio.aclose_forcefully(self._connection)


async def _deny(request: WebSocketRequest, event: Close | Reject) -> None:
    if isinstance(event, Close):
        await request.reject(403)
    else:
        # trio-websocket sends this header itself.
        headers = [header for header in event.headers if header[0] != b"content-length"]
        await request.reject(event.status, extra_headers=headers, body=event.body)


@asynccontextmanager
async def opened(transport: TrioTransport, options: Options) -> AsyncGenerator[WebSocket]:
    """The block of a WebSocket over a connection that is open already."""
    async with make_websocket(transport, options) as ws:
        await ws.accept(transport.subprotocol)
        yield ws
