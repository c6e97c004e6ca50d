"""Before: trio-websocket alone."""

import itertools

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from examples.migrating.work import answer


async def tick(ws: WebSocketConnection) -> None:
    for number in itertools.count(1):
        await ws.send_message(f"tick {number}")
        await trio.sleep(1)


async def feed(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick, ws)
        try:
            while True:
                await ws.send_message(await answer(await ws.get_message()))
        except ConnectionClosed:
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve_websocket, feed, "127.0.0.1", 8000, None)
