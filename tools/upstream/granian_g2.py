"""G2: a close waits for the receive() that another task is in: it never goes out."""

import sys

import anyio
from _reproduction import (
    GRANIAN,
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

    async def reader() -> None:
        await receive()

    async with anyio.create_task_group() as group:
        group.start_soon(reader)
        await anyio.sleep(0.2)
        with anyio.move_on_after(3):
            await send({"type": "websocket.close", "code": 4002})
        group.cancel_scope.cancel()


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        client.status()
        client.socket.settimeout(1.2)
        end = client.end()
    return None if end == "close 4002" else f"1 s after the close the client sees: {end}"


if __name__ == "__main__":
    servers = (GRANIAN,)
    sys.exit(run(__file__, reproduce, *servers))
