"""A close by one task is the end of the connection to the others (S7, D4)."""

import anyio
import pytest

from wsnursery import WebSocket, WebSocketDisconnected, open_websocket, testing, websocket_app


async def ticker(ws: WebSocket) -> None:
    while True:
        await ws.send("tick")
        await anyio.sleep(1)


# contract: S7, D4
async def test_a_child_that_sends_has_simply_ended() -> None:
    server = testing.Server(answers_close=False)
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        await ws.accept()
        ws.start_soon(ticker, ws)
        await anyio.sleep(1.5)
        await ws.close(4000)
        await anyio.sleep(1)
        with pytest.raises(anyio.ClosedResourceError):
            await ws.send("my own mistake")
    assert server.transcript.from_app == ["tick", "tick"]


# contract: S7, D5
async def test_it_escapes_from_the_body() -> None:
    server = testing.Server()

    async def closer(ws: WebSocket) -> None:
        await anyio.sleep(1.5)
        await ws.close(4000, "enough")

    with pytest.raises(WebSocketDisconnected) as caught:
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
            ws.start_soon(closer, ws)
            await ticker(ws)
    assert (caught.value.code, caught.value.reason) == (4000, "enough")


# contract: S7
async def test_own_mistake_is_an_error() -> None:
    server = testing.Server()
    with pytest.raises(anyio.ClosedResourceError):
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
            await ws.close()
            await ws.send("x")


# contract: S7, X8
async def test_close_all_ends_a_handler_that_pushes() -> None:
    app = websocket_app(accept_and_tick)
    async with testing.connect(app, answers_close=False) as client:
        await anyio.sleep(1.5)
        await app.close_all(timeout=20)
        await client.app_finished()
    assert client.exception is None
    assert client.server.transcript.app_close == (1001, "")


async def accept_and_tick(ws: WebSocket) -> None:
    await ws.accept()
    await ticker(ws)
