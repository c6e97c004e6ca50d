"""The network connection below an ASGI ``send``: to drop it, and to make its end harmless.

ASGI has no call for either.

Hypercorn (0.17, 0.18) shields its writes on trio and waits for ever to close on asyncio: a peer
that does not read holds the handler, and the shutdown of the worker with it. Its ``send`` is a
method of the stream, whose own ``send`` is one of the protocol, whose own is one of the TCP server.
Nothing is imported to recognise them. On other servers, and where middleware hides the server's
``send``, there is no carrier.
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
"""How many callables there are from ``send`` down to the network."""

RESET = struct.pack("ii", 1, 0)
"""``SO_LINGER`` for a close that throws unsent data away: the peer takes none of it, and the kernel
would keep it for minutes."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """What carries a connection over the network."""

    server: object
    """The server's object for it. Alive as long as it serves the connection."""
    socket: Any
    """Its socket. Taken while it is open: asyncio's TLS transport, closed twice, loses it."""
    shared: bool
    """Other streams (HTTP/2) are carried too, and would be dropped with it."""


def carrier_of(send: Send) -> Carrier | None:
    """Find what is below an ASGI ``send``, if the server is known and its own ``send`` is given."""
    owner, shared = getattr(send, "__self__", None), False
    for _ in range(STEPS):
        if type(owner).__module__ in _DROPS:
            sock = socket_of(owner)
            return None if sock is None else Carrier(owner, sock, shared)
        shared = shared or type(owner).__module__ in _MULTIPLEXED
        owner = getattr(getattr(owner, "send", None), "__self__", None)
    return None


def drop(server: object, sock: Any) -> None:
    """Reset what a `Carrier` names: what waits for the network in it returns. Idempotent."""
    with suppress(OSError):  # it is closed
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    _DROPS[type(server).__module__](server, sock)


def make_end_harmless(carrier: Carrier) -> None:
    """Have the server close the connection without ``send_eof``, as it does where it is TLS.

    Hypercorn's trio worker (0.16 to 0.18) calls ``send_eof`` from the task that meets the end. Trio
    counts it as sending for one step of the loop: another task of the server that sends in that
    step, a ping or a frame of HTTP/2, gets a `BusyResourceError`, and the whole process ends.
    """
    stream: Any = getattr(carrier.server, "stream", None)
    if hasattr(stream, "send_eof"):
        stream.send_eof = _no_send_eof


async def _no_send_eof() -> None:
    raise AttributeError("send_eof")  # what Hypercorn meets, and expects, with TLS


def socket_of(server: Any) -> Any:
    """The socket of the server's object for a network connection; `None` if it has been closed."""
    if hasattr(server, "writer"):
        try:
            return server.writer.get_extra_info("socket")
        except AttributeError:  # asyncio's TLS transport, closed twice
            return None
    # Below TLS, if there is any.
    return getattr(server.stream, "transport_stream", server.stream).socket


def _drop_on_trio(_server: Any, sock: Any) -> None:
    sock.close()


def _drop_on_asyncio(server: Any, sock: Any) -> None:
    # For a TLS transport that waits for the peer's farewell and has been closed twice: `abort` does
    # nothing for it. (uvloop's has no such call, and does not need it.)
    with suppress(OSError, TypeError):
        sock.shutdown(socket.SHUT_RDWR)
    server.writer.transport.abort()


_DROPS: dict[str, Callable[[Any, Any], None]] = {
    "hypercorn.trio.tcp_server": _drop_on_trio,
    "hypercorn.asyncio.tcp_server": _drop_on_asyncio,
}
"""By the module of the class that owns the network connection."""

_MULTIPLEXED = {"hypercorn.protocol.h2"}
