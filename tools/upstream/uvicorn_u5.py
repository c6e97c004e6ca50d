"""U5: with wsproto, a frame that breaks the protocol is answered without a close frame."""

import sys

from _reproduction import (
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
    await receive()


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        client.status()
        client.send(11, b"a reserved opcode")
        end = client.end()
    return None if end == "close 1002" else f"the client sees: {end}"


if __name__ == "__main__":
    servers = (UVICORN_WSPROTO,)
    sys.exit(run(__file__, reproduce, *servers))
