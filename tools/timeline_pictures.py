"""docs/pictures/timeline-*.svg: what happened in real runs, as `wsnursery.timeline` draws it.

    python -m tools.timeline_pictures          write them

The runs are against the server in memory and on virtual time, so they are the same every time. So
that two tasks never end in the same instant, whose order is not guaranteed, each takes a time of
its own to clean up.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio

from wsnursery import Options, Room, WebSocket, testing, websocket_app
from wsnursery.timeline import Recorder, svg

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"


async def ticker(ws: WebSocket, period: float) -> None:
    """A child that sends."""
    try:
        while True:
            await ws.send("tick")
            await anyio.sleep(period)
    finally:
        with anyio.move_on_after(0.2, shield=True):
            await anyio.sleep_forever()


async def presence() -> None:
    """A child that knows nothing of the connection."""
    try:
        await anyio.sleep_forever()
    finally:
        with anyio.move_on_after(0.5, shield=True):
            await anyio.sleep_forever()


async def echo(ws: WebSocket) -> None:
    """A body that reads and answers."""
    try:
        async for message in ws:
            await ws.send(message)
    finally:
        with anyio.move_on_after(0.1, shield=True):
            await anyio.sleep_forever()


async def send_fails(recorder: Recorder) -> None:
    """The server's send raises."""

    @websocket_app(options=Options(hooks=[recorder]))
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(ticker, ws, 0.25)
        ws.start_soon(presence)
        await echo(ws)

    fault = testing.FailSend(14, BrokenPipeError(32, "Broken pipe"))
    async with testing.connect(app, path="/chat", faults=[fault]) as client:
        for _ in range(3):
            await anyio.sleep(0.6)
            await client.send("hello")
        await client.app_finished()


async def child_fails(recorder: Recorder) -> None:
    """One task of the connection raises."""

    async def importer() -> None:
        await anyio.sleep(1.5)
        raise ValueError("row 7 has 3 columns, not 4")

    @websocket_app(options=Options(hooks=[recorder]))
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(importer)
        ws.start_soon(ticker, ws, 0.2)
        await echo(ws)

    async with testing.connect(app, path="/import") as client:
        await client.send("go")
        with suppress(ExceptionGroup):
            await client.app_finished()


async def cancelled(recorder: Recorder) -> None:
    """The server cancels the application, as it does when it stops."""

    @websocket_app(options=Options(hooks=[recorder]))
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(ticker, ws, 0.5)
        await echo(ws)

    async with testing.connect(app, path="/chat") as client:
        await anyio.sleep(3)
        client.cancel_app()
        await client.until_finished()


async def slow_reader(recorder: Recorder) -> None:
    """One of two clients stops reading."""
    room = Room("news")

    @websocket_app(options=Options(hooks=[recorder], send_buffer=4, send_timeout=5))
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        with room.joined(ws, overflow="drop_oldest"):
            async for message in ws:
                room.publish(message)

    async def read(client: testing.Client) -> None:
        with suppress(testing.ConnectionEnded):
            while True:
                await client.receive()

    stalled = testing.StallSend(6)
    async with (
        testing.connect(app, path="/news") as fast,
        testing.connect(app, path="/news", faults=[stalled]) as slow,
        anyio.create_task_group() as readers,
    ):
        readers.start_soon(read, fast)
        readers.start_soon(read, slow)
        for number in range(20):
            await fast.send(f"news {number}")
            await anyio.sleep(0.5)
        fast.close()
        await slow.until_finished()


RUNS: dict[str, tuple[str, Callable[[Recorder], Awaitable[None]]]] = {
    "timeline-send-fails.svg": ("A send fails", send_fails),
    "timeline-child-fails.svg": ("A child fails", child_fails),
    "timeline-cancelled.svg": ("Cancelled from outside", cancelled),
    "timeline-slow-reader.svg": ("A slow reader in a room", slow_reader),
}
"""The pictures by their files."""


def picture(name: str) -> str:
    """What happened in a run, as the file of this name has it."""
    title, run = RUNS[name]
    recorder = Recorder()
    backend, options = testing.virtual_backend("asyncio")
    anyio.run(run, recorder, backend=backend, backend_options=options)
    return svg(*recorder.timelines(), title=title) + "\n"


if __name__ == "__main__":
    for name in RUNS:
        (PICTURES / name).write_text(picture(name), "utf-8")
