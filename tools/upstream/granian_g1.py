"""G1: a receive() that is cancelled loses the message that it has already taken."""

import sys
import time

import anyio
from _reproduction import (
    GRANIAN,
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
    received = 0
    with anyio.move_on_after(2) as silence:
        while received < 500:
            with anyio.move_on_after(0.0007):
                await receive()
                received += 1
                silence.deadline = anyio.current_time() + 2
    report(received)


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        client.status()
        for _ in range(500):
            client.send(TEXT, b"message")
            time.sleep(0.001)
        (received,) = server.reported()
    return None if received == 500 else f"{500 - received} of 500 messages are lost"


if __name__ == "__main__":
    servers = (GRANIAN,)
    sys.exit(run(__file__, reproduce, *servers))
