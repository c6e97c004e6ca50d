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

from ._handshaking import HANDSHAKE_SECONDS, open_client
from ._reader import BackgroundTasks, lingering, shielded_nursery
from ._request import ClientRequest
from ._scope import client_scope
from ._stream import WatchedStream
from ._transport import TrioTransport, opened
from ._url import WebSocketURL

CONNECT_SECONDS = 30.0
"""The longest that name resolution and the TCP connection may take together."""

CLOSE_SECONDS = 1.0
"""The longest that closing a stream may take. `trio.aclose_forcefully` does not wait for the peer,
so this only guards against a stream that does."""


class HandshakeRejected(ConnectionError):
    """The server answered a client's handshake with an HTTP response instead of a WebSocket.

    It is a `ConnectionError`, as `WebSocketDisconnected` is, so that one ``except OSError`` catches
    every failure after which a client may want to connect again.

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


async def dial(url: WebSocketURL, ssl_context: ssl.SSLContext | None) -> trio.abc.Stream:
    """Connect to the host of a URL. TLS, if the URL asks for it, begins with the first data.

    Raises:
        OSError: The host could not be reached.
        TimeoutError: It took more than `CONNECT_SECONDS`.
    """
    with anyio.fail_after(CONNECT_SECONDS):
        stream = await trio.open_tcp_stream(url.host, url.port)
    if not url.secure:
        return stream
    # `https_compatible`, because many peers close the connection without TLS's close_notify.
    return trio.SSLStream(
        stream,
        ssl_context or ssl.create_default_context(),
        server_hostname=url.host,
        https_compatible=True,
    )


@asynccontextmanager
async def client_over(
    raw: trio.abc.Stream,
    url: WebSocketURL,
    subprotocols: list[str],
    headers: list[tuple[bytes, bytes]],
    options: Options,
) -> AsyncGenerator[WebSocket]:
    """A client's WebSocket over a stream to the server, which is closed at the end.

    Raises:
        HandshakeRejected: The server answered with another HTTP response.
        OSError: The stream broke, or the server did not answer with a WebSocket handshake.
    """
    stream = WatchedStream(raw)
    request = ClientRequest(url.host_header, url.resource, subprotocols, headers)
    try:
        async with shielded_nursery() as nursery:
            tasks = BackgroundTasks(nursery)
            connection = await _shake_hands(tasks, stream, request, options)
            scope = client_scope(url, subprotocols, connection, raw)
            transport = TrioTransport(connection, scope, tasks, options, stream=stream)
            async with (
                lingering(stream, tasks, transport.sent_close),
                opened(transport, options) as ws,
            ):
                yield ws
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await trio.aclose_forcefully(stream)


async def _shake_hands(
    tasks: BackgroundTasks, stream: WatchedStream, request: ClientRequest, options: Options
) -> WebSocketConnection:
    try:
        with anyio.fail_after(HANDSHAKE_SECONDS):
            return await open_client(tasks, stream, request, options)
    except ConnectionRejected as exc:
        # `from None`, because the cause would add nothing: all its facts are in the new exception.
        raise HandshakeRejected(exc.status_code, exc.headers, exc.body or b"") from None
