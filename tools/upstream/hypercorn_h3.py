"""H3: send() to a client that does not read cannot be cancelled: it runs in a shielded scope."""

import sys

import anyio
from _reproduction import (
    ANYCORN_ASYNCIO,
    ANYCORN_TRIO,
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
    report("accepted")
    with anyio.move_on_after(0.5):
        while True:
            await send({"type": "websocket.send", "bytes": bytes(65536)})
    report("cancelled")


def reproduce(server: Server) -> str | None:
    with server.client(receive_buffer=4096) as client:
        server.reported()
        try:
            server.reported(3)
        except TimeoutError:
            client.reset()
            return "2.5 s after its time limit send() has not returned"
    return None


if __name__ == "__main__":
    servers = (
        HYPERCORN_TRIO,
        ANYCORN_TRIO,
        ANYCORN_ASYNCIO,
    )
    sys.exit(run(__file__, reproduce, *servers))
