"""U1: a connection that is lost is reported as 1005, for which RFC 6455 has 1006."""

import sys

from _reproduction import (
    UVICORN,
    UVICORN_WSPROTO,
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
    report((await receive())["code"])


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        client.status()
        client.reset()
    (code,) = server.reported()
    return None if code == 1006 else f"the client reset the connection, the event says {code}"


if __name__ == "__main__":
    servers = (
        UVICORN,
        UVICORN_WSPROTO,
    )
    sys.exit(run(__file__, reproduce, *servers))
