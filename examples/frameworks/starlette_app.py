"""A route of Starlette. Run it with ``hypercorn -k trio examples.frameworks.starlette_app:app``."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from examples.frameworks.feed import feed


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("a page")


app = Starlette(routes=[Route("/", page), WebSocketRoute("/feed/{name}", feed)])
