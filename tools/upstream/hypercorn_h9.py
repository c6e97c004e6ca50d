"""H9: a first message in the packet of the handshake ends the process of a trio worker.

The server has answered 400, then the application accepts (issue 225).
"""

import sys
import time

from _reproduction import (
    ANYCORN_TRIO,
    HYPERCORN_TRIO,
    TEXT,
    Event,
    Receive,
    Send,
    Server,
    frame,
    run,
    websocket,
)


@websocket
async def app(_scope: Event, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})


def reproduce(server: Server) -> str | None:
    with server.client(early=frame(TEXT, b"early")) as client:
        status = client.status()
    time.sleep(1)
    return None if server.serves() else f"after HTTP {status} the server does not listen any more"


if __name__ == "__main__":
    servers = (
        HYPERCORN_TRIO,
        ANYCORN_TRIO,
    )
    sys.exit(run(__file__, reproduce, *servers, logs_errors=True))
