"""After: the same path on wsnursery, in front of Falcon."""

import itertools
from typing import Any

import anyio
import falcon.asgi

from examples.migrating.work import answer
from wsnursery import WebSocket, websocket_app


async def tick(ws: WebSocket) -> None:
    for number in itertools.count(1):
        await ws.send(f"tick {number}")
        await anyio.sleep(1)


@websocket_app
async def feed(ws: WebSocket) -> None:
    await ws.accept()
    ws.start_soon(tick, ws)
    async for message in ws:
        await ws.send(await answer(message))


routes = falcon.asgi.App()


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket" and scope["path"] == "/feed":
        await feed(scope, receive, send)
    else:
        await routes(scope, receive, send)
