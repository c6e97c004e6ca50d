"""In front of Falcon. Run it with ``hypercorn examples.frameworks.falcon_app:app``."""

from typing import Any

import falcon.asgi

from examples.frameworks.feed import feed


class Page:
    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.text = "a page"


routes = falcon.asgi.App()
routes.add_route("/", Page())


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket" and scope["path"].startswith("/feed/"):
        await feed(scope, receive, send)
    else:
        await routes(scope, receive, send)
