"""Connect to a server over trio-websocket: dial, shake hands, run the block."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import trio
from trio_websocket import ConnectionRejected, WebSocketConnection

from wsnursery._engine.websocket import WebSocket
from wsnursery._options import Options

from ._link import Background, Request, lingering, open_client, sheltered
from ._scope import Target, client_scope
from ._stream import WatchedStream
from ._transport import TrioTransport, opened

DIAL_SECONDS = 30.0
"""The longest that the connection may take to be made, and once more the handshake."""

CLOSE_SECONDS = 1.0
"""More than enough for `trio.aclose_forcefully`, which does not wait for the peer."""


class HandshakeRejected(ConnectionError):
    """The server has answered a client's handshake with an HTTP response.

    It is a `ConnectionError` like `WebSocketDisconnected`, so that one ``except OSError`` catches
    all that a client may want to try again after.

    Args:
        status: The HTTP status.
        headers: The response's headers, in bytes.
        body: The response's body, in bytes.
    """

    status: int
    """The HTTP status, such as 403."""
    headers: tuple[tuple[bytes, bytes], ...]
    """The response's headers: lower-case names and values, in bytes."""
    body: bytes
    """The response's body, in bytes."""

    def __init__(
        self, status: int, headers: tuple[tuple[bytes, bytes], ...] = (), body: bytes = b""
    ) -> None:
        super().__init__(f"the server has rejected the WebSocket handshake with status {status}")
        self.status = status
        self.headers = headers
        self.body = body

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.status, self.headers, self.body)


async def dial(target: Target, ssl_context: ssl.SSLContext | None) -> trio.abc.Stream:
    """Connect to the host of a URL; TLS, if the URL says so, begins with the handshake.

    Raises:
        OSError: The host could not be reached.
        TimeoutError: It took more than `DIAL_SECONDS`.
    """
    with anyio.fail_after(DIAL_SECONDS):
        stream = await trio.open_tcp_stream(target.host, target.port)
    if not target.secure:
        return stream
    return trio.SSLStream(
        stream,
        ssl_context or ssl.create_default_context(),
        server_hostname=target.host,
        https_compatible=True,
    )


@asynccontextmanager
async def client_over(
    raw: trio.abc.Stream,
    target: Target,
    subprotocols: list[str],
    headers: list[tuple[bytes, bytes]],
    options: Options,
) -> AsyncGenerator[WebSocket]:
    """A client's WebSocket over a stream to the server, which is closed at the end.

    Raises:
        HandshakeRejected: The server has answered with another HTTP response.
        OSError: The stream broke, or the server has not answered with a WebSocket handshake.
    """
    stream = WatchedStream(raw)
    request = Request(target.host_header, target.resource, subprotocols, headers)
    try:
        async with sheltered() as nursery:
            tasks = Background(nursery)
            connection = await _shake_hands(tasks, stream, request, options)
            scope = client_scope(target, subprotocols, connection, raw)
            transport = TrioTransport(connection, scope, tasks, options, stream=stream)
            async with (
                lingering(stream, tasks, transport.said_close),
                opened(transport, options) as ws,
            ):
                yield ws
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await trio.aclose_forcefully(stream)


async def _shake_hands(
    tasks: Background, stream: WatchedStream, request: Request, options: Options
) -> WebSocketConnection:
    try:
        with anyio.fail_after(DIAL_SECONDS):
            return await open_client(tasks, stream, request, options)
    except ConnectionRejected as exc:
        raise HandshakeRejected(exc.status_code, exc.headers, exc.body or b"") from None
