"""U4: after the server's own close at shutdown, a close by the application does nothing."""

import sys

from _reproduction import (
    UVICORN,
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
    await receive()
    try:
        await send({"type": "websocket.close"})
    except Exception as exc:  # noqa: BLE001 - it is what is looked for
        report(type(exc).__name__, isinstance(exc, OSError))
    else:
        report("nothing", False)


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        client.status()
        server.reported()
        server.terminate()
        error, is_os_error = server.reported()
    return None if is_os_error else f"after the event with 1012 close raises {error}"


if __name__ == "__main__":
    servers = (UVICORN,)
    sys.exit(run(__file__, reproduce, *servers))
