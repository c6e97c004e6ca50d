"""Objects that are connected as those of Hypercorn, from an ASGI `send` down to a socket."""

import socket
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

TRIO, ASYNCIO = "hypercorn.trio.tcp_server", "hypercorn.asyncio.tcp_server"
HTTP_1, HTTP_2 = "hypercorn.protocol.h11", "hypercorn.protocol.h2"


class Socket:
    """A socket, or asyncio's transport, which only records the calls on it."""

    def __init__(self, on_close: Callable[[], object] = lambda: None) -> None:
        self.done: list[str] = []
        self.refuses = False
        self._on_close = on_close

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        if self.refuses:
            raise OSError("Bad file descriptor")
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        assert struct.unpack("ii", value) == (1, 0)
        self.done.append("reset when closed")

    def shutdown(self, how: int) -> None:
        if self.refuses:
            raise OSError("Transport endpoint is not connected")
        assert how == socket.SHUT_RDWR
        self.done.append("shut down")

    async def send_eof(self) -> None:
        """As trio's stream over it."""
        self.done.append("half-closed")

    def close(self) -> None:
        self.done.append("closed")
        self._on_close()

    abort = close

    def get_extra_info(self, name: str) -> "Socket":
        assert name == "socket"
        return self


class _Layer:
    """One of Hypercorn's objects: each has the method below it as its `send`."""

    def __init__(self, below: Any) -> None:
        self.send = below

    async def method(self, event: Any) -> None:
        """Called by the layer above; this layer does nothing."""


def _layer(module: str, below: Any) -> Any:
    cls = type("Layer", (_Layer,), {"__module__": module})
    return cls(below)


def tcp_server(module: str, sock: Socket, *, tls: bool = False) -> Any:
    """The lowest of them, which has the network connection."""
    server = _layer(module, None)
    if module == ASYNCIO:
        server.writer = SimpleNamespace(transport=sock, get_extra_info=sock.get_extra_info)
    else:
        stream = SimpleNamespace(socket=sock, send_eof=sock.send_eof)
        server.stream = SimpleNamespace(transport_stream=stream) if tls else stream
    return server


def send_over(server: Any, protocol: str = HTTP_1) -> Any:
    """The ASGI `send` of a connection over it."""
    below = _layer(protocol, server.method)
    return _layer("hypercorn.protocol.ws_stream", below.method).method
