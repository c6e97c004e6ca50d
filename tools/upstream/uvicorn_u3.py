"""U3: after a close by the server itself, send() raises RuntimeError and no OSError."""

import sys

from _reproduction import (
    TEXT,
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
    report((await receive())["code"])
    try:
        await send({"type": "websocket.send", "text": "x"})
    except Exception as exc:  # noqa: BLE001 - it is what is looked for
        report(type(exc).__name__, isinstance(exc, OSError))
    else:
        report("nothing", False)


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        client.status()
        client.send(TEXT, b"too big" * 1000)
        code = server.reported()[0]
        error, is_os_error = server.reported()
    return None if is_os_error else f"after the event with {code} send() raises {error}"


if __name__ == "__main__":
    servers = (UVICORN,)
    sys.exit(run(__file__, reproduce, *servers, options="--ws-max-size 1000"))
