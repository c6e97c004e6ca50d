"""After: the same route on wsnursery."""

import itertools

import anyio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

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


app = Starlette(routes=[WebSocketRoute("/feed", feed)])
