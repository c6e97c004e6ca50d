"""H2: the disconnect event is lost when the send() of H1 is cancelled: receive() waits for ever."""

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
        with anyio.move_on_after(0.3):
            await send({"type": "websocket.send", "text": "x"})
        await anyio.sleep(0.05)
    with anyio.move_on_after(1):
        while (await receive())["type"] != "websocket.disconnect":
            pass
        report("disconnected")
        return
    report("nothing")


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        client.status()
        client.send(TEXT, b"message", count=50)
        client.reset()
    if server.reported() == ["nothing"]:
        return "no disconnect event within 1 s"
    return None


if __name__ == "__main__":
    servers = (
        HYPERCORN_TRIO,
        HYPERCORN_ASYNCIO,
        ANYCORN_TRIO,
        ANYCORN_ASYNCIO,
    )
    sys.exit(run(__file__, reproduce, *servers))
