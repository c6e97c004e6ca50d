"""Serve WebSockets over trio-websocket: accept, run handlers, drain."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import anyio
import trio
from trio_websocket import WebSocketRequest

from wsnursery._codes import CloseCode
from wsnursery._engine.connection_log import ConnectionLog
from wsnursery._engine.functions import called, check_handler
from wsnursery._engine.open_connections import (
    OpenConnections,
    cancel_websocket,
    close_websocket,
)
from wsnursery._engine.quiet_disconnect import QuietDisconnect
from wsnursery._engine.websocket import Handler, WebSocket, make_websocket
from wsnursery._options import Options

from ._handshaking import HANDSHAKE_SECONDS, open_server
from ._reader import BackgroundTasks, lingering, shielded_nursery
from ._scope import server_scope
from ._stream import WatchedStream
from ._transport import TrioTransport

logger = logging.getLogger("wsnursery")

"""What `serve` runs for every connection: an async function of one `WebSocket`."""

TCPListener = trio.SocketListener | trio.SSLListener[trio.SocketStream]

BAD_HOST = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"content-type: text/plain; charset=utf-8\r\n"
    b"content-length: 35\r\n"
    b"connection: close\r\n\r\n"
    b"The Host header is not a host name\n"
)
"""The answer to a request whose ``Host`` header cannot be a host name."""

HANDLER_SECONDS = 10.0
"""Seconds between the closes of a cancelled server and the cancellation of the handlers that still
run: the default of `WebSocketApp.close_all`."""


@dataclass(frozen=True, slots=True)
class Listening:
    """What a server that has started listens on: the value that `serve` gives to ``started``."""

    addresses: tuple[tuple[str, int], ...]
    """Host and port of each listening socket."""

    @property
    def port(self) -> int:
        """The port of the first listening socket, for a server that was given port 0."""
        return self.addresses[0][1]


class TrioServer:
    """One run of `serve`.

    Args:
        handler: Runs for every connection.
        options: For every connection.
    """

    def __init__(self, handler: Handler, options: Options) -> None:
        check_handler(handler)
        self._handler = handler
        self._options = options
        self._open = OpenConnections(close_websocket, cancel_websocket)
        self._draining = False

    async def run(self, listeners: Sequence[TCPListener]) -> None:
        """Serve until cancelled, then drain."""
        async with shielded_nursery() as handlers:
            try:
                await trio.serve_listeners(
                    self.serve_stream, list(listeners), handler_nursery=handlers
                )
            finally:
                # The server is being cancelled here, and the drain has its own time limit.
                with trio.CancelScope(shield=True):
                    await self._drain(handlers)

    async def _drain(self, handlers: trio.Nursery) -> None:
        """Close every connection with 1001 and wait until the handlers have ended."""
        self._draining = True
        limit = anyio.CancelScope(deadline=trio.current_time() + HANDLER_SECONDS)
        await self._open.end_all(handlers.start_soon, CloseCode.GOING_AWAY, "", limit=limit)

    async def serve_stream(self, raw: trio.abc.Stream) -> None:
        """Serve one connection. No exception of its handler ends the server."""
        try:
            async with shielded_nursery() as nursery:
                await self._serve(raw, BackgroundTasks(nursery))
        except Exception:
            logger.exception("the connection of a client failed")

    async def _serve(self, raw: trio.abc.Stream, tasks: BackgroundTasks) -> None:
        stream = WatchedStream(raw)
        request: WebSocketRequest | None = None
        # A client without a handshake is dropped and not logged, because a scan would fill the log.
        with trio.move_on_after(HANDSHAKE_SECONDS):
            request = await open_server(tasks, stream, self._options)
        if isinstance(tasks.error, UnicodeError):
            await _refuse_host(stream)
        if request is None or self._draining:
            # A handshake that completes during the drain would outlive it.
            return
        # The public way to the connection is `accept`, but a client that leaves before the
        # application accepts must be noticed, too.
        connection = request._connection  # pyright: ignore[reportPrivateUsage]
        try:
            scope = server_scope(request, raw)
        except UnicodeError:
            await _refuse_host(stream)
            return
        transport = TrioTransport(
            connection, scope, tasks, self._options, request=request, stream=stream
        )
        async with lingering(stream, tasks, transport.sent_close):
            ws = make_websocket(transport, self._options)
            try:
                await self._handle(ws)
            except Exception:  # noqa: BLE001 - it is logged
                ConnectionLog(scope).exception("the handler of a WebSocket failed")

    async def _handle(self, ws: WebSocket) -> None:
        try:
            with QuietDisconnect(ws):
                async with ws:
                    self._open.add(ws)
                    await called(self._handler, ws)
        finally:
            self._open.discard(ws)


async def _refuse_host(stream: WatchedStream) -> None:
    """Answer a request whose ``Host`` header cannot be a host name (RFC 9110 §7.2).

    Written by hand, because wsproto cannot go on after such a name.
    """
    with trio.move_on_after(HANDSHAKE_SECONDS), suppress(trio.BrokenResourceError):
        await stream.send_all(BAD_HOST)


def listening(listeners: Sequence[TCPListener]) -> Listening:
    """The addresses of the listeners."""
    return Listening(tuple(_address(listener) for listener in listeners))


def _address(listener: TCPListener) -> tuple[str, int]:
    below = listener if isinstance(listener, trio.SocketListener) else listener.transport_listener
    assert isinstance(below, trio.SocketListener)
    host, port, *_ = below.socket.getsockname()
    return host, port
