"""Before: Quart-Trio's own WebSocket."""

import itertools

import trio
from quart import websocket
from quart_trio import QuartTrio

from examples.migrating.work import answer

app = QuartTrio(__name__)


async def tick() -> None:
    for number in itertools.count(1):
        await websocket.send(f"tick {number}")
        await trio.sleep(1)


@app.websocket("/feed")
async def feed() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        while True:
            await websocket.send(await answer(await websocket.receive()))
