"""H5: send() after the disconnect is not a checkpoint: a loop of it freezes the process."""

import sys

import anyio
import anyio.lowlevel
from _reproduction import (
    ANYCORN_ASYNCIO,
    ANYCORN_TRIO,
    HYPERCORN_ASYNCIO,
    HYPERCORN_TRIO,
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
    await receive()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await anyio.lowlevel.checkpoint()
        ticks = 0
        for _ in range(1000):
            await send({"type": "websocket.send", "text": "x"})
        report(ticks)
        group.cancel_scope.cancel()


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        client.status()
        client.reset()
    (ticks,) = server.reported()
    return None if ticks else "1000 sends succeeded and no other task ran"


if __name__ == "__main__":
    servers = (
        HYPERCORN_TRIO,
        HYPERCORN_ASYNCIO,
        ANYCORN_TRIO,
        ANYCORN_ASYNCIO,
    )
    sys.exit(run(__file__, reproduce, *servers))
