"""Timelines of real runs, from the hook to the picture."""

import json
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import anyio

from wsnursery import Options, WebSocket, testing, timeline, websocket_app


def app_with(recorder: timeline.Recorder) -> Any:
    """A handler with a child that takes its time to clean up."""

    async def ticker(ws: WebSocket) -> None:
        try:
            while True:
                await ws.send("tick")
                await anyio.sleep(1)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.25)

    @websocket_app(options=Options(hooks=[recorder]))
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(ticker, ws)
        async for message in ws:
            await ws.send(message)

    return app


OUTCOME = (
    "WebSocketDisconnected: the WebSocket connection has ended without a close code; "
    "1 queued message not delivered \u2190 BrokenPipeError: [Errno 32] Broken pipe"
)


async def test_a_send_that_fails() -> None:
    recorder = timeline.Recorder()
    fault = testing.FailSend(4, OSError(32, "Broken pipe"))
    async with testing.connect(app_with(recorder), path="/chat", faults=[fault]) as client:
        await anyio.sleep(0.5)
        await client.send("hello")
        await client.app_finished()
    (found,) = recorder.timelines()
    assert timeline.text(found).splitlines() == [
        f"WebSocket /chat ({found.connection})",
        "    0.000  opened /chat",
        "    0.000  accepted",
        "    0.000  ticker started",
        "    0.000  sent 4 bytes",
        "    0.500  received 5 bytes",
        "    0.500  sent 5 bytes",
        "    1.000  send failed: BrokenPipeError: [Errno 32] Broken pipe",
        "    1.000  1 message dropped unsent",
        "    1.000  broken, no close code: BrokenPipeError: [Errno 32] Broken pipe",
        f"    1.000  body ended by the disconnect: {OUTCOME}",
        f"    1.250  ticker ended by the disconnect: {OUTCOME}",
        f"    1.250  closed, no close code: {OUTCOME}",
    ]
    picture = ElementTree.fromstring(timeline.svg(found))
    written = "".join(picture.itertext())
    assert "ticker ended by the disconnect, its clean-up took 250 ms" in written
    assert json.loads(json.dumps(found.as_dict()))["entries"][-1]["text"].startswith("closed")


async def test_two_connections_of_which_one_is_cancelled() -> None:
    recorder = timeline.Recorder(messages=False)
    app = app_with(recorder)
    ids: list[UUID] = []
    async with testing.connect(app, path="/1"), testing.connect(app, path="/2") as two:
        await anyio.sleep(0.5)
        two.cancel_app()
        await two.until_finished()
        ids = [found.connection for found in recorder.timelines()]
        assert [found.closed for found in recorder.timelines()] == [False, True]
    words = [[str(entry) for entry in recorder.timeline(connection).entries] for connection in ids]
    started = ["accepted", "ticker started"]
    assert words[0] == [
        "opened /1",
        *started,
        "disconnected, code 1000",
        "cancelled ticker: the connection ended",
        "body returned",
        "ticker was cancelled",
        "closed, code 1000",
    ]
    assert words[1][:4] == ["opened /2", *started, "cancelled the application: from outside"]
    assert sorted(words[1][4:6]) == ["body was cancelled", "ticker was cancelled"]
    assert words[1][6] == "disconnected, code 1001"
    assert words[1][7].startswith("closed, code 1001: Cancelled")


def test_the_public_names_say_where_they_are_from() -> None:
    for name in timeline.__all__:
        assert getattr(timeline, name).__module__ == "wsnursery.timeline"
