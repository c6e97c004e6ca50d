"""H1: send() never returns when messages wait to be received and the client resets.

The write fails, so send() itself delivers the disconnect event, into the queue that is full of the
messages which the same task would receive next.
"""

import sys

import anyio
from _reproduction import (
    ANYCORN_ASYNCIO,
    ANYCORN_TRIO,
    HYPERCORN_ASYNCIO,
    HYPERCORN_TRIO,
    TEXT,
    Event,
    Receive,
    Send,
    Server,
    report,
    run,
    websocket,
)


@websocket
async def app(_scope: Event, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await anyio.sleep(0.5)
    for _ in range(3):
        await send({"type": "websocket.send", "text": "x"})
        await anyio.sleep(0.05)
    report("sent")


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        client.status()
        client.send(TEXT, b"message", count=50)
        client.reset()
    try:
        server.reported(3)
    except TimeoutError:
        return "send() has not returned after 2.5 s"
    return None


if __name__ == "__main__":
    servers = (HYPERCORN_TRIO, HYPERCORN_ASYNCIO, ANYCORN_TRIO, ANYCORN_ASYNCIO)
    sys.exit(run(__file__, reproduce, *servers))
