"""H8: at shutdown, the first connection to end cuts the clean-up of all others short (asyncio).

The tasks are gathered, the gathering ends with the first of them, and the end of the loop cancels
the rest a second time.
"""

import sys

import anyio
from _reproduction import (
    ANYCORN_ASYNCIO,
    HYPERCORN_ASYNCIO,
    Event,
    Receive,
    Send,
    Server,
    report,
    run,
    websocket,
)


@websocket
async def app(scope: Event, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    report("accepted")
    if b"x-slow" not in dict(scope["headers"]):
        await receive()
    try:
        await receive()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.3)
        report("cleaned up")


def reproduce(server: Server) -> str | None:
    with server.client("X-Slow: yes"), server.client():
        server.reported()
        server.reported()
        server.terminate()
        try:
            server.reported()
        except TimeoutError:
            return "the clean-up of 0.3 s does not end when another connection has none"
    return None


if __name__ == "__main__":
    servers = (
        HYPERCORN_ASYNCIO,
        ANYCORN_ASYNCIO,
    )
    sys.exit(run(__file__, reproduce, *servers, options="--graceful-timeout 1", logs_errors=True))
