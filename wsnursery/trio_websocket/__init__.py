"""WebSockets without ASGI, over trio-websocket: `connect`, `serve` and `from_connection`.

The same `wsnursery.WebSocket` with the same contract, on both ends, on trio alone. It needs the
extra: ``pip install 'wsnursery[trio-websocket]'``.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

try:
    import trio
    import trio_websocket
except ImportError as _missing:
    raise ImportError(
        "wsnursery.trio_websocket needs trio-websocket: pip install 'wsnursery[trio-websocket]'"
    ) from _missing

from wsnursery._backend.running import running_on_trio
from wsnursery._engine.websocket import Handler, WebSocket
from wsnursery._options import Options, check_options
from wsnursery._types import Headers

from ._client import CLOSE_SECONDS, HandshakeRejected, client_over, dial
from ._reader import BackgroundTasks, shielded_nursery
from ._request import check_offer, check_request_headers
from ._scope import connection_scope
from ._server import Listening, TCPListener, TrioServer, listening
from ._transport import TrioTransport, opened
from ._url import parse_url

__all__ = ["HandshakeRejected", "Listening", "connect", "from_connection", "serve"]

# Show the public path in reprs, tracebacks and pickles, not the private module.
HandshakeRejected.__module__ = Listening.__module__ = __name__


def connect(
    url: str,
    *,
    subprotocols: Iterable[str] = (),
    headers: Headers = (),
    ssl_context: ssl.SSLContext | None = None,
    options: Options = Options(),
) -> AbstractAsyncContextManager[WebSocket]:
    """Connect to a server.

    Use it as an async context manager, once::

        async with connect("ws://127.0.0.1:8000/") as ws:
            await ws.send("hello")
            print(await ws.receive())

    The WebSocket is open: there is nothing to accept. Its `WebSocket.headers` are those of the
    server's answer. Leaving closes it as every block of a WebSocket does. It connects once; see
    ``examples/reconnect.py`` for a client that connects again.

    Args:
        url: ``ws://host:port/path?query``, or ``wss://`` for TLS (RFC 6455 §3).
        subprotocols: What to offer, in the order of preference; see `WebSocket.subprotocol`.
        headers: More request headers, pairs of bytes.
        ssl_context: For ``wss://``; the default checks the certificate against the system's.
        options: Limits and mode.

    Raises:
        ValueError: The URL, a header or a subprotocol may not be sent. (At the call.)
        TypeError: An argument has the wrong type. (At the call.)
        RuntimeError: The call is not made in a trio task. (At the call.)
        OSError: Entering: the server could not be reached (`ssl.SSLError` for its certificate), or
            did not answer with a WebSocket handshake. `TimeoutError` if the connection or the
            handshake takes more than 30 seconds.
        HandshakeRejected: Entering: the server answered with another HTTP response.
        WebSocketDisconnected: The end of the connection interrupted the body; see
            `wsnursery.open_websocket`.

    *Checkpoint*: entering and leaving. *Cancellation*: while entering, the stream is closed; then
    as with `wsnursery.open_websocket`.
    """
    _require_trio("connect")
    check_options(options)
    parsed = parse_url(url)
    if ssl_context is not None and not parsed.secure:
        raise ValueError(
            f"the URL must begin with wss:// when ssl_context is given, got {url!r}: write wss://, "
            "or leave ssl_context out"
        )
    # Checked now and not when the block is entered, so that the traceback shows the caller's line.
    offered = check_offer(subprotocols)
    checked = check_request_headers(headers)

    @asynccontextmanager
    async def connected() -> AsyncGenerator[WebSocket]:
        stream = await dial(parsed, ssl_context)
        async with client_over(stream, parsed, offered, checked, options) as ws:
            yield ws

    return connected()


def from_connection(
    connection: trio_websocket.WebSocketConnection, options: Options = Options()
) -> AbstractAsyncContextManager[WebSocket]:
    """Put a WebSocket over an open connection of trio-websocket, client or server.

    Use it as an async context manager inside the block that holds the connection. No other code may
    read, write or close the connection in the meantime::

        async with trio_websocket.open_websocket_url(url) as connection:
            async with from_connection(connection) as ws:
                ...

    The WebSocket is open: there is nothing to accept. Leaving closes the connection.

    Two things are better with `connect` and `serve`, which open the stream themselves. They chain
    the `OSError` of a stream that broke while it was read; trio-websocket drops it, so here the end
    is reported as code 1006 without a cause. And they apply ``Options.max_message_size`` before a
    message has been put together.

    Args:
        connection: The connection.
        options: Limits and mode.

    Raises:
        RuntimeError: The call is not made in a trio task. (At the call.)
        TypeError: The options are something else. (At the call.)
        WebSocketDisconnected: As with `connect`.

    *Checkpoint*: entering and leaving. *Cancellation*: as with `connect`.
    """
    _require_trio("from_connection")
    check_options(options)

    @asynccontextmanager
    async def adopted() -> AsyncGenerator[WebSocket]:
        async with shielded_nursery() as nursery:
            scope = connection_scope(connection)
            transport = TrioTransport(connection, scope, BackgroundTasks(nursery), options)
            try:
                async with opened(transport, options) as ws:
                    yield ws
            finally:
                # Shielded, because a cancelled `aclose_forcefully` might leave the socket open.
                with trio.move_on_after(CLOSE_SECONDS, shield=True):
                    await trio.aclose_forcefully(connection)

    return adopted()


async def serve(
    handler: Handler,
    host: str | None,
    port: int,
    *,
    ssl_context: ssl.SSLContext | None = None,
    options: Options = Options(),
    task_status: trio.TaskStatus[Listening] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve WebSockets until cancelled.

    The handler is the same as for `wsnursery.websocket_app`, the call to `WebSocket.accept`
    included. An exception of the handler is logged once, with its traceback, and closes that
    connection with 1011; the server continues. A client that leaves is a normal end.

    Args:
        handler: An async function of one `WebSocket`.
        host: The address to listen on, such as ``"127.0.0.1"``; `None` for all interfaces.
        port: The port; 0 for a free one, see `Listening.port`.
        ssl_context: For TLS; `None` serves without.
        options: Limits and mode of every connection.
        task_status: For ``await nursery.start(serve, handler, host, port)``, which returns the
            `Listening` when the server accepts connections.

    Raises:
        OSError: It cannot listen there.
        RuntimeError: It does not run on trio.
        TypeError: The options are something else.

    *Checkpoint*: yes; it never returns. *Cancellation*: it stops listening, closes every connection
    with 1001 and gives the handlers 10 seconds to end, then cancels them.
    """
    _require_trio("serve")
    check_options(options)
    # Listening and serving are two steps, so that a server on port 0 can report its port.
    if ssl_context is None:
        listeners: Sequence[TCPListener] = await trio.open_tcp_listeners(port, host=host)
    else:
        listeners = await trio.open_ssl_over_tcp_listeners(
            port, ssl_context, host=host, https_compatible=True
        )
    try:
        task_status.started(listening(listeners))
        await TrioServer(handler, options).run(listeners)
    finally:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            for listener in listeners:
                await listener.aclose()


def _require_trio(name: str) -> None:
    if not running_on_trio():
        raise RuntimeError(
            f"wsnursery.trio_websocket.{name}() must be called in a trio task, because "
            "trio-websocket runs on trio alone: use trio.run() or anyio.run(..., backend='trio')"
        )
