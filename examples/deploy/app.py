"""A WebSocket and a health endpoint, to be deployed.

Run it with ``python -m wsnursery serve -c hypercorn.toml app:app`` in this directory.
"""

from typing import Any

from wsnursery import Options, WebSocket, websocket_app

OPTIONS = Options(
    max_message_size=64 * 1024,
    allowed_origins=None,  # name yours, if you use cookies: ["https://example.org"]
)


@websocket_app(options=OPTIONS)
async def echo(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        await ws.send(message)


async def health(send: Any) -> None:
    """Say that this process serves. An endpoint that asks a database is no better than it."""
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok\n"})


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/healthz":
        await health(send)
    else:
        await echo(scope, receive, send)
