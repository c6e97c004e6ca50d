"""U2: no close frame when the application raises or returns: the client sees 1006, not 1011."""

import sys

from _reproduction import (
    UVICORN,
    UVICORN_LEGACY,
    UVICORN_WSPROTO,
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
    raise LookupError("a bug of the application")


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        client.status()
        end = client.end()
    return None if end.startswith("close") else f"the client sees: {end}"


if __name__ == "__main__":
    servers = (
        UVICORN,
        UVICORN_WSPROTO,
        UVICORN_LEGACY,
    )
    sys.exit(run(__file__, reproduce, *servers, logs_errors=True))
