"""Quart's."""

from quart import Quart, websocket

from . import parse_push

app = Quart(__name__)


@app.websocket("/echo")
async def _echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


@app.websocket("/push")
async def _push() -> None:
    while True:
        count, payload = parse_push(str(await websocket.receive()))
        for _ in range(count):
            await websocket.send(payload)


@app.websocket("/receive")
async def _receive() -> None:
    while True:
        if await websocket.receive() == "end":
            await websocket.send("end")
