"""The routes for both Quarts, which differ only in the class."""

from quart import Quart, websocket

from . import parse_push


def with_routes(app: Quart) -> Quart:
    """Add the three paths."""
    app.websocket("/echo")(_echo)
    app.websocket("/push")(_push)
    app.websocket("/receive")(_receive)
    return app


async def _echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


async def _push() -> None:
    while True:
        count, payload = parse_push(str(await websocket.receive()))
        for _ in range(count):
            await websocket.send(payload)


async def _receive() -> None:
    while True:
        if await websocket.receive() == "end":
            await websocket.send("end")
