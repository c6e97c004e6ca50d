"""Echo every message, and serve a page to try it.

Run it with ``python -m examples.echo`` or with ``hypercorn -k trio examples.echo:app``.
"""

from pathlib import Path
from typing import Any

from wsnursery import WebSocket, websocket_app

PAGE = Path(__file__).with_suffix(".html").read_bytes()


@websocket_app
async def echo(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        await ws.send(message)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Dispatch by scope type, as any ASGI application may."""
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PAGE})
    else:
        await echo(scope, receive, send)


if __name__ == "__main__":
    from examples import _serve

    _serve.main(app)
