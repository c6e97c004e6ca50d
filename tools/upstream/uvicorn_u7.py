"""U7: with the legacy protocol, the disconnect event waits up to 10 s for the end of TCP."""

import sys

from _reproduction import (
    UVICORN_LEGACY,
    Event,
    Receive,
    Send,
    Server,
    close_frame,
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
        client.socket.sendall(close_frame(4001))
        try:
            server.reported(2)
        except TimeoutError:
            return "2 s after the close frame there is no disconnect event"
    return None


if __name__ == "__main__":
    servers = (UVICORN_LEGACY,)
    sys.exit(run(__file__, reproduce, *servers))
