"""After: the same handler on wsnursery, over trio-websocket."""

import itertools

import trio

from examples.migrating.work import answer
from wsnursery import WebSocket
from wsnursery.trio_websocket import serve


async def tick(ws: WebSocket) -> None:
    for number in itertools.count(1):
        await ws.send(f"tick {number}")
        await trio.sleep(1)


async def feed(ws: WebSocket) -> None:
    await ws.accept()
    ws.start_soon(tick, ws)
    async for message in ws:
        await ws.send(await answer(message))


if __name__ == "__main__":
    trio.run(serve, feed, "127.0.0.1", 8000)
