"""Connect to a server over trio-websocket: dial, shake hands, run the block."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import trio
from trio_websocket import ConnectionRejected

from wsnursery._options import Options
from wsnursery._trio_link import Background, open_client, sheltered
from wsnursery._trio_scope import Target, client_scope
from wsnursery._trio_stream import WatchedStream, broken_stream_in
from wsnursery._trio_transport import TrioTransport, opened
from wsnursery._websocket import WebSocket

DIAL_SECONDS = 30.0
"""The longest that the connection may take to be made, and once more the handshake."""


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
    """Connect to the host of a URL, with TLS if the URL says so.

    Raises:
        OSError: It could not be reached, or its certificate is not good (`ssl.SSLError`).
        TimeoutError: It took more than `DIAL_SECONDS`.
    """
    with anyio.fail_after(DIAL_SECONDS):
        stream = await trio.open_tcp_stream(target.host, target.port)
        if not target.secure:
            return stream
        secured = trio.SSLStream(
            stream,
            ssl_context or ssl.create_default_context(),
            server_hostname=target.host,
            https_compatible=True,
        )
        try:
            await secured.do_handshake()
        except BaseException as exc:
            await trio.aclose_forcefully(stream)
            error = broken_stream_in(exc)
            if error is None:
                raise
        else:
            return secured
    raise error


@asynccontextmanager
async def client_over(
    raw: trio.abc.Stream,
    target: Target,
    subprotocols: list[str],
    headers: list[tuple[bytes, bytes]],
    options: Options,
) -> AsyncGenerator[WebSocket]:
    """A client's WebSocket over a stream to the server, which is closed at the end."""
    stream = WatchedStream(raw)
    async with sheltered() as nursery:
        tasks = Background(nursery)
        try:
            with anyio.fail_after(DIAL_SECONDS):
                connection = await open_client(
                    tasks,
                    stream,
                    target.host_header,
                    target.resource,
                    subprotocols,
                    headers,
                    options,
                )
        except BaseException as exc:
            await trio.aclose_forcefully(stream)
            if isinstance(exc, ConnectionRejected):
                raise HandshakeRejected(exc.status_code, exc.headers, exc.body or b"") from None
            raise
        scope = client_scope(target, subprotocols, connection, raw)
        transport = TrioTransport(connection, scope, tasks, options, stream=stream)
        try:
            async with opened(transport, options) as ws:
                yield ws
        finally:
            await transport.part()
