"""H6: a second close after a rejection raises AttributeError; the connection stays open."""

import sys

import anyio
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
    await send({"type": "websocket.close"})
    try:
        await send({"type": "websocket.close"})
    except Exception as exc:  # noqa: BLE001 - it is what is looked for
        report(type(exc).__name__)
    else:
        report("nothing")
    await anyio.sleep(2)


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        (error,) = server.reported()
        client.status()
        client.socket.settimeout(1)
        end = client.end()
    if error == "AttributeError":
        return f"the second close raises {error}, 1 s after the 403 the connection shows: {end}"
    return None


if __name__ == "__main__":
    servers = (
        HYPERCORN_TRIO,
        HYPERCORN_ASYNCIO,
        ANYCORN_TRIO,
        ANYCORN_ASYNCIO,
    )
    sys.exit(run(__file__, reproduce, *servers))
