"""Push a tick every second while the peer may change the pace.

The ticker is a task of the connection, so it ends when the connection ends.
Run it with ``python -m examples.ticker`` or with ``hypercorn -k trio examples.ticker:app``.
"""

import itertools
from dataclasses import dataclass

import anyio

from wsnursery import WebSocket, websocket_app


@dataclass
class Pace:
    seconds: float = 1.0


async def tick(ws: WebSocket, pace: Pace) -> None:
    for number in itertools.count(1):
        await ws.send(f"tick {number}")
        await anyio.sleep(pace.seconds)


@websocket_app
async def app(ws: WebSocket) -> None:
    await ws.accept()
    pace = Pace()
    ws.start_soon(tick, ws, pace)
    async for message in ws:
        try:
            pace.seconds = min(max(float(message), 0.01), 60.0)
        except ValueError:
            await ws.send("send the seconds between two ticks, for example 0.5")


if __name__ == "__main__":
    from examples import _serve

    _serve.main(app)
