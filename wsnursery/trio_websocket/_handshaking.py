"""The opening handshake over a stream, on both sides: from a stream to an open connection."""

from __future__ import annotations

from typing import cast

import trio
from trio_websocket import (
    ConnectionRejected,
    WebSocketConnection,
    WebSocketRequest,
    wrap_client_stream,
    wrap_server_stream,
)

from wsnursery._options import Options

from ._reader import BackgroundTasks
from ._request import ClientRequest
from ._stream import WatchedStream

HANDSHAKE_SECONDS = 30.0
"""The longest that a handshake may take, TLS included, on either side. A peer that sends nothing
would otherwise hold a socket for ever."""

HEADERS_BYTES = 64 * 1024
"""The most that a server's answer to a handshake may have in addition to its body."""


async def open_client(
    tasks: BackgroundTasks, stream: WatchedStream, request: ClientRequest, options: Options
) -> WebSocketConnection:
    """Ask for a WebSocket and wait for the answer.

    Raises:
        ConnectionRejected: The server answered with another HTTP response.
        OSError: The stream broke, or the server did not answer with a WebSocket handshake.
    """

    async def shake_hands(nursery: trio.Nursery) -> WebSocketConnection:
        return await wrap_client_stream(
            nursery,
            # The function takes any stream, but its annotation asks for a socket.
            cast("trio.SocketStream", stream),
            request.host,
            request.resource,
            subprotocols=request.subprotocols,
            extra_headers=request.headers,
            # Without a queue the reader hands each message over to a task that waits for it. A
            # message in a queue would be lost when the reader stops.
            message_queue_size=0,
            max_message_size=options.max_message_size,
            receive_buffer_size=None,
        )

    # The body of a rejection may be as long as a message, because a message may follow a handshake
    # at once, and its bytes cannot be told apart here.
    stream.budget = HEADERS_BYTES + options.max_message_size
    connection = await tasks.unless_reader_ends(shake_hands)
    stream.budget = None
    if connection is not None:
        return connection
    error = tasks.error or stream.error
    if isinstance(error, ConnectionRejected | OSError):
        raise error
    raise ConnectionError(
        f"{request.host} has not answered with a WebSocket handshake: is it a WebSocket server?"
    ) from error


async def open_server(
    tasks: BackgroundTasks, stream: WatchedStream, options: Options
) -> WebSocketRequest | None:
    """Wait for a client's handshake.

    Returns:
        The request, or `None` if the client sent something else or left.
    """

    async def wait_for_request(nursery: trio.Nursery) -> WebSocketRequest:
        return await wrap_server_stream(
            nursery,
            stream,
            # As on the client's side: a message in a queue could be lost.
            message_queue_size=0,
            max_message_size=options.max_message_size,
            receive_buffer_size=None,
        )

    return await tasks.unless_reader_ends(wait_for_request)
