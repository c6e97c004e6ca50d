"""H12: GOAWAY from a client of HTTP/2 that is being sent to ends the process of a trio worker.

To close, the reader calls `send_eof`, which counts as sending for one step of the loop: a task that
sends in that step gets a `BusyResourceError`. With TLS there is no `send_eof`.
"""

import socket
import struct
import sys
from contextlib import suppress

from _reproduction import (
    ANYCORN_TRIO,
    HYPERCORN_TRIO,
    Event,
    Receive,
    Send,
    Server,
    run,
    websocket,
)
from anyio.lowlevel import checkpoint

HEADERS, SETTINGS, GOAWAY, WINDOW_UPDATE = 1, 4, 7, 8
INITIAL_WINDOW_SIZE = 4
END_HEADERS = 0x4
MUCH = 2**30
TRIES = 20

REQUEST = {
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":scheme": "http",
    ":path": "/",
    ":authority": "localhost",
    "sec-websocket-version": "13",
}


@websocket
async def app(_scope: Event, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        await send({"type": "websocket.send", "text": "more"})
        await checkpoint()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def literal(text: str) -> bytes:
    """A string of HPACK, as it is."""
    return bytes([len(text)]) + text.encode()


def handshake() -> bytes:
    """Open a WebSocket in stream 1, and let the server send without asking."""
    fields = b"".join(b"\0" + literal(name) + literal(value) for name, value in REQUEST.items())
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + frame(SETTINGS, 0, 0, struct.pack("!HI", INITIAL_WINDOW_SIZE, MUCH))
        + frame(WINDOW_UPDATE, 0, 0, struct.pack("!I", MUCH))
        + frame(HEADERS, END_HEADERS, 1, fields)
    )


def say_goaway(port: int) -> None:
    """Connect, read a little, and go as RFC 9113 (6.8) has it."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(handshake())
        received = 0
        while received < 2000 and (data := client.recv(2**16)):
            received += len(data)
        client.sendall(frame(GOAWAY, 0, 0, bytes(8)))
        while client.recv(2**16):
            pass


def reproduce(server: Server) -> str | None:
    for _ in range(TRIES):
        with suppress(OSError):
            say_goaway(server.port)
        if not server.serves():
            return "the server does not listen any more"
    return None


if __name__ == "__main__":
    servers = (
        HYPERCORN_TRIO,
        ANYCORN_TRIO,
    )
    sys.exit(run(__file__, reproduce, *servers, logs_errors=True))
