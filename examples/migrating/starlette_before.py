"""Before: Starlette's own WebSocket."""

import itertools

import anyio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from examples.migrating.work import answer


async def tick(websocket: WebSocket) -> None:
    for number in itertools.count(1):
        await websocket.send_text(f"tick {number}")
        await anyio.sleep(1)


async def feed(websocket: WebSocket) -> None:
    await websocket.accept()
    async with anyio.create_task_group() as group:
        group.start_soon(tick, websocket)
        try:
            while True:
                await websocket.send_text(await answer(await websocket.receive_text()))
        except WebSocketDisconnect:
            group.cancel_scope.cancel()


app = Starlette(routes=[WebSocketRoute("/feed", feed)])
