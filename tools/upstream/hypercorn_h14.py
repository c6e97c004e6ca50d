"""H14: a first message in the packet of the handshake, then a close: the handler gets no event."""

import sys

from _reproduction import (
    HYPERCORN_ASYNCIO,
    TEXT,
    Event,
    NotReported,
    Receive,
    Send,
    Server,
    frame,
    report,
    run,
    websocket,
)


@websocket
async def app(_scope: Event, receive: Receive, _send: Send) -> None:
    report((await receive())["type"])
    report((await receive())["type"])


def reproduce(server: Server) -> str | None:
    with server.client(early=frame(TEXT, b"early")):
        server.reported()
    try:
        server.reported(3)
    except NotReported:
        return "3 s after the client has closed, receive() still waits"
    return None


if __name__ == "__main__":
    sys.exit(run(__file__, reproduce, HYPERCORN_ASYNCIO))
