"""Next to the routes of Quart. Run it with ``hypercorn examples.frameworks.quart_app:app``."""

from typing import Any

from quart import Quart

from examples.frameworks.feed import feed

app = Quart(__name__)
routes = app.asgi_app


@app.get("/")
async def page() -> str:
    return "a page"


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket" and scope["path"].startswith("/feed/"):
        await feed(scope, receive, send)
    else:
        await routes(scope, receive, send)


app.asgi_app = asgi_app  # type: ignore[method-assign]
