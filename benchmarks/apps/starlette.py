"""Starlette's."""

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from . import parse_push


async def _echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


async def _push(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        count, payload = parse_push(message)
        for _ in range(count):
            await websocket.send_text(payload)


async def _receive(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        if message == "end":
            await websocket.send_text("end")


async def _broadcast(websocket: WebSocket) -> None:
    await websocket.accept()
    _members[websocket] = None
    try:
        async for message in websocket.iter_text():
            for member in list(_members):
                await member.send_text(message)
    finally:
        del _members[websocket]


_members: dict[WebSocket, None] = {}
app = Starlette(
    routes=[
        WebSocketRoute("/echo", _echo),
        WebSocketRoute("/push", _push),
        WebSocketRoute("/receive", _receive),
        WebSocketRoute("/broadcast", _broadcast),
    ]
)
