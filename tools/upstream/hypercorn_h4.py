"""H4: the client's close code and reason are dropped: the disconnect event says 1006."""

import sys

from _reproduction import (
    ANYCORN_ASYNCIO,
    ANYCORN_TRIO,
    HYPERCORN_ASYNCIO,
    HYPERCORN_TRIO,
    Event,
    Receive,
    Send,
    Server,
    close_frame,
    report,
    run,
    websocket,
)


@websocket
async def app(_scope: Event, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    report((await receive())["code"])


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        client.status()
        client.socket.sendall(close_frame(4001))
        (code,) = server.reported()
    return None if code == 4001 else f"the client closed with 4001, the event says {code}"


if __name__ == "__main__":
    servers = (
        HYPERCORN_TRIO,
        HYPERCORN_ASYNCIO,
        ANYCORN_TRIO,
        ANYCORN_ASYNCIO,
    )
    sys.exit(run(__file__, reproduce, *servers))
