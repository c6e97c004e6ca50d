"""H11: a byte that is not ASCII in a header of the handshake ends the process of a trio worker."""

import sys
import time

from _reproduction import (
    ANYCORN_ASYNCIO,
    ANYCORN_TRIO,
    HYPERCORN_TRIO,
    Event,
    Receive,
    Send,
    Server,
    run,
    websocket,
)


@websocket
async def app(_scope: Event, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})


def reproduce(server: Server) -> str | None:
    offer = "Sec-WebSocket-Extensions: \N{LATIN SMALL LETTER E WITH ACUTE}"
    deadline = time.monotonic() + 5
    with server.client(offer):
        while server.serves() and time.monotonic() < deadline:
            time.sleep(0.05)
    return None if server.serves() else "the server does not listen any more"


if __name__ == "__main__":
    servers = (
        HYPERCORN_TRIO,
        ANYCORN_TRIO,
        ANYCORN_ASYNCIO,
    )
    sys.exit(run(__file__, reproduce, *servers, logs_errors=True))
