"""H14: a first message in the packet of the handshake, then a close: the handler gets no event."""

import sys

from _reproduction import (
    HYPERCORN_ASYNCIO,
    TEXT,
    Event,
    NotTold,
    Receive,
    Send,
    Server,
    frame,
    run,
    tell,
    websocket,
)


@websocket
async def app(_scope: Event, receive: Receive, _send: Send) -> None:
    tell((await receive())["type"])
    tell((await receive())["type"])


def reproduce(server: Server) -> str | None:
    with server.client(early=frame(TEXT, b"early")):
        server.told()
    try:
        server.told(3)
    except NotTold:
        return "3 s after the client has closed, receive() still waits"
    return None


if __name__ == "__main__":
    sys.exit(run(__file__, reproduce, HYPERCORN_ASYNCIO))
