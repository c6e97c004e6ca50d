"""H10: an offer of permessage-deflate with a bad parameter ends the process of a trio worker."""

import sys
import time
from contextlib import suppress

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
    offer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x"
    with server.client(offer), suppress(EOFError, OSError):
        time.sleep(1)
    return None if server.serves() else "the server does not listen any more"


if __name__ == "__main__":
    servers = (
        HYPERCORN_TRIO,
        ANYCORN_TRIO,
        ANYCORN_ASYNCIO,
    )
    sys.exit(run(__file__, reproduce, *servers, logs_errors=True))
