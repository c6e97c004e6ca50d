"""The server's network connection below an ASGI ``send``: reset it, or disable its ``send_eof``.

ASGI has no call for either.

Hypercorn (0.17, 0.18) shields its writes on trio, and on asyncio it waits without a limit while it
closes. A peer that does not read therefore holds the handler and the shutdown of the worker. Its
``send`` is a method of the stream object, whose ``send`` is a method of the protocol, whose
``send`` is a method of the TCP server. Nothing is imported to recognise them. On other servers, and
where middleware hides the server's ``send``, no connection is found.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from wsnursery._types import Send

STEPS = 3
"""How many bound methods lead from ``send`` to the TCP server."""

RESET = struct.pack("ii", 1, 0)
"""``SO_LINGER`` with a timeout of 0, so that a close discards unsent data. The peer does not read
it, and the kernel would keep it for minutes."""


@dataclass(frozen=True, slots=True)
class ServerConnection:
    """A server's connection to one peer."""

    server: object
    """The server's object for it. It exists as long as the server serves the connection."""
    socket: Any
    """Its socket. Kept here, because asyncio's TLS transport forgets it when closed twice."""
    shared: bool
    """Other streams (HTTP/2) use it too, and a reset would end them as well."""


def server_connection_of(send: Send) -> ServerConnection | None:
    """Find the connection below a known server's own ``send``; `None` below any other."""
    owner, shared = getattr(send, "__self__", None), False
    for _ in range(STEPS):
        if type(owner).__module__ in _DROPS:
            sock = socket_of(owner)
            return None if sock is None else ServerConnection(owner, sock, shared)
        shared = shared or type(owner).__module__ in _MULTIPLEXED
        owner = getattr(getattr(owner, "send", None), "__self__", None)
    return None


def drop(server: object, sock: Any) -> None:
    """Reset a connection, so that every call that waits for the network returns. Idempotent."""
    # A closed socket refuses the option, and is closed again below.
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    _DROPS[type(server).__module__](server, sock)


def disable_send_eof(connection: ServerConnection) -> None:
    """Let the server close the connection without ``send_eof``, as it does with TLS.

    Hypercorn's trio worker (0.16 to 0.18) calls ``send_eof`` in the task that notices the end.
    trio counts that as a send for one step of the loop. If another task of the server sends in that
    step, a ping or a frame of HTTP/2, it gets a `BusyResourceError`, and the whole process ends.
    """
    stream: Any = getattr(connection.server, "stream", None)
    if hasattr(stream, "send_eof"):
        stream.send_eof = _no_send_eof


async def _no_send_eof() -> None:
    # A TLS stream has no such method. Hypercorn catches this exception.
    raise AttributeError("send_eof")


def socket_of(server: Any) -> Any:
    """The socket of the server's object for a connection; `None` if it has been closed."""
    if hasattr(server, "writer"):
        try:
            return server.writer.get_extra_info("socket")
        except AttributeError:
            # asyncio's TLS transport raises this after it was closed twice.
            return None
    # With TLS, the socket is in the stream below.
    return getattr(server.stream, "transport_stream", server.stream).socket


def _drop_on_trio(_server: Any, sock: Any) -> None:
    sock.close()


def _drop_on_asyncio(server: Any, sock: Any) -> None:
    # `abort` does nothing for a TLS transport that was closed twice and waits for the peer's
    # close_notify; shutting the socket down ends that wait. uvloop's sockets refuse `shutdown`, and
    # there `abort` suffices.
    with suppress(OSError, TypeError):
        sock.shutdown(socket.SHUT_RDWR)
    server.writer.transport.abort()


_DROPS: dict[str, Callable[[Any, Any], None]] = {
    "hypercorn.trio.tcp_server": _drop_on_trio,
    "hypercorn.asyncio.tcp_server": _drop_on_asyncio,
}
"""How to drop a connection, by the module of the server's class."""

_MULTIPLEXED = {"hypercorn.protocol.h2"}
"""The modules of protocols that carry several streams over one connection."""
