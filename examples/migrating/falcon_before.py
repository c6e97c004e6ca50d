"""Before: Falcon's own WebSocket."""

import itertools

import anyio
import falcon
import falcon.asgi
from falcon.asgi import Request, WebSocket

from examples.migrating.work import answer


async def tick(ws: WebSocket) -> None:
    for number in itertools.count(1):
        await ws.send_text(f"tick {number}")
        await anyio.sleep(1)


class Feed:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as group:
            group.start_soon(tick, ws)
            try:
                while True:
                    await ws.send_text(await answer(await ws.receive_text()))
            except falcon.WebSocketDisconnected:
                group.cancel_scope.cancel()


app = falcon.asgi.App()
app.add_route("/feed", Feed())
