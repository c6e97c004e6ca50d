"""The examples of `examples/frameworks`, each as it is, watched from outside.

`starlette_app` here is the application of `examples.frameworks.starlette_app`, and so on. Every
connection reports how it left the framework. The client picks a fault by a request to /fault/NAME.
"""

import importlib
from collections.abc import Callable
from typing import Any

import anyio

from examples.frameworks import feed
from tests.servers import apps
from tests.servers._reports import Reporter
from wsnursery import WebSocket

report = Reporter("mounted")

talking: list[WebSocket] = []
talk = feed.talk


async def watched_talk(ws: WebSocket) -> None:
    talking.append(ws)
    await talk(ws)


feed.talk = watched_talk


def cancel(ws: WebSocket, scope: anyio.CancelScope) -> None:
    """Cancel the connection from outside of everything."""
    scope.cancel()


def fail(ws: WebSocket, scope: anyio.CancelScope) -> None:
    """Let a child of the handler fail."""

    async def child() -> None:
        raise LookupError("a bug of the handler")

    ws.start_soon(child)


FAULTS: dict[str, Callable[[WebSocket, anyio.CancelScope], None]] = {"cancel": cancel, "fail": fail}


class Watched:
    """The application of an example; the framework is imported when its server starts."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._scopes: list[anyio.CancelScope] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        app = importlib.import_module(f"examples.frameworks.{self._name}").app
        if scope["type"] == "websocket":
            await self._watch(app, scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/stats":
            await apps.app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith("/fault/"):
            FAULTS[scope["path"].removeprefix("/fault/")](talking[-1], self._scopes[-1])
            await apps.app(scope, receive, send)
        else:
            await app(scope, receive, send)

    async def _watch(self, app: Any, scope: Any, receive: Any, send: Any) -> None:
        outcome: BaseException | None = None
        cancel_scope = anyio.CancelScope()
        self._scopes.append(cancel_scope)
        report("began")
        try:
            with cancel_scope:
                await app(scope, receive, send)
        except BaseException as exc:
            outcome = exc
            raise
        finally:
            report("ended", cancelled=cancel_scope.cancelled_caught, **apps.describe(outcome))


starlette_app = Watched("starlette_app")
fastapi_app = Watched("fastapi_app")
litestar_app = Watched("litestar_app")
quart_app = Watched("quart_app")
quart_trio_app = Watched("quart_trio_app")
falcon_app = Watched("falcon_app")
django_app = Watched("django_app")
channels_app = Watched("channels_app")
