"""A connection of trio-websocket as the engine wants it."""

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

from ._link import Background
from ._stream import WatchedStream, broken_stream_in

CHECKPOINTS_OF_DOUBT = 5
"""Checkpoints that a send gets to say why the stream broke when the reader only saw that it did."""


class TrioTransport:
    """One connection, on either end.

    A connection that is open already, as a client's always is, is announced and accepted like any
    other: the accept is then nothing, and the messages wait for it.

    Args:
        connection: The connection.
        scope: Its handshake in the form of an ASGI scope.
        tasks: What runs behind it.
        options: For the pings.
        request: On the server: the handshake that is still to be answered.
        stream: The stream under it, if it is ours.
    """

    drains = False
    receive_blocks_close = False

    def __init__(
        self,
        connection: WebSocketConnection,
        scope: Scope,
        tasks: Background,
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
        """Why the connection is broken, where the stream does not know it."""

        # The patience with an unanswered ping. It only counts while the peer is listened to.
        self._patience: trio.CancelScope | None = None
        self._listening_since = math.inf

    # ---------------------------------------------------------------------------------- receiving

    async def receive(self) -> Incoming:
        """As `Transport.receive`."""
        if not self._announced:
            self._announced = True
            return Connect()
        if self._request is None:
            await self._accepted.wait()
        self._listen(trio.current_time())
        try:
            return await self._connection.get_message()
        except ConnectionClosed:
            pass
        finally:
            self._listen(math.inf)
        return await self._end()

    async def _end(self) -> Disconnect:
        """Say how the connection has ended; raise if it is broken."""
        if self._closing:
            self._close_is_out.set()
            await self._tasks.over.wait()
        else:
            await self._look_for_an_error()
            error = self._broken()
            if error is not None:
                raise error
        closed = self._connection.closed
        assert closed is not None
        return Disconnect(closed.code, closed.reason or "")

    async def _look_for_an_error(self) -> None:
        if self._connection.closed is None:
            # Only a reader that has failed leaves it so.
            await self._tasks.over.wait()
            self._error = self._tasks.error
        elif self._stream is None:
            for _ in range(CHECKPOINTS_OF_DOUBT):
                await trio.lowlevel.checkpoint()

    def _broken(self) -> Exception | None:
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
        await self._refused(refusal)

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

    async def _refused(self, exc: Exception) -> NoReturn:
        """The connection is closed, says trio-websocket: raise the reason, or hear it."""
        self._error = self._error or broken_stream_in(exc)
        error = self._broken()
        if error is not None:
            raise error
        # It was closed by the peer: the receiver is about to hear how, and cancels this.
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
        """Send the close frame; the peer's answer is for `receive`."""
        self._closing = True
        self._tasks.run(partial(self._shake_goodbye, close))
        await self._close_is_out.wait()

    async def _shake_goodbye(self, close: Close) -> None:
        # It sends the frame, which makes `get_message` raise, and waits for the answer.
        await self._connection.aclose(close.code, close.reason)
        self._close_is_out.set()
        self._tasks.over.set()

    def said_close(self) -> bool:
        """Whether this side has sent a close frame of its own accord.

        trio-websocket sends one by itself when a message exceeds the limit.
        """
        closed = self._connection.closed
        return self._closing or (closed is not None and closed.code == CloseCode.MESSAGE_TOO_BIG)

    def says_gone(self, exc: Exception) -> bool:
        """As `Transport.says_gone`: an error of a broken stream does, and an unanswered ping."""
        return isinstance(exc, trio.BrokenResourceError) or exc is self._broken()

    def abort(self) -> bool:
        """As `Transport.abort`. There is no need: trio gives up every call that is cancelled."""
        return False

    # -------------------------------------------------------------------------------------- pings

    async def _keep_alive(self, interval: float) -> None:
        while True:
            await trio.sleep(interval)
            asked = trio.current_time()
            with trio.CancelScope() as self._patience:
                self._listen(max(asked, self._listening_since))
                try:
                    await self._connection.ping()
                except (ConnectionClosed, LocalProtocolError) as exc:
                    self._error = self._error or broken_stream_in(exc)
                    return
            if self._patience.cancelled_caught:
                await self._fall_silent()
                return
            self._patience = None
            self.round_trip_time = trio.current_time() - asked

    def _listen(self, since: float) -> None:
        """Note since when the peer is listened to: what it answers meanwhile is noticed."""
        self._listening_since = since
        if self._patience is not None:
            self._patience.deadline = since + (self._options.ping_timeout or math.inf)

    async def _fall_silent(self) -> None:
        timeout = self._options.ping_timeout
        self._error = TimeoutError(f"the peer has not answered a ping within {timeout} s")
        await trio.aclose_forcefully(self._connection)


async def _deny(request: WebSocketRequest, event: Close | Reject) -> None:
    if isinstance(event, Close):
        await request.reject(403)
    else:
        # trio-websocket says how long the body is.
        headers = [header for header in event.headers if header[0] != b"content-length"]
        await request.reject(event.status, extra_headers=headers, body=event.body)


@asynccontextmanager
async def opened(transport: TrioTransport, options: Options) -> AsyncGenerator[WebSocket]:
    """The block around a connection that is open already."""
    async with make_websocket(transport, options) as ws:
        await ws.accept(transport.subprotocol)
        yield ws
