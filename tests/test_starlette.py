"""`wsnursery.starlette`: endpoints of Starlette that hand their WebSocket over."""

import runpy
import sys
from contextlib import suppress
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as StarletteWebSocket

import wsnursery.starlette as ours
from wsnursery import LocalProtocolError, Options, WebSocketDisconnected, testing
from wsnursery.starlette import open_websocket


def served(endpoint: Any) -> Starlette:
    return Starlette(routes=[WebSocketRoute("/{name}", endpoint)])


def unused_websocket() -> StarletteWebSocket:
    server: Any = testing.Server()
    return StarletteWebSocket(server.scope, server.receive, server.send)


class Endpoint:
    """It greets, then pushes or echoes, and keeps how its block was left."""

    def __init__(self, *, pushes: bool = False) -> None:
        self.pushes = pushes
        self.outcomes: list[BaseException | None] = []

    async def __call__(self, websocket: StarletteWebSocket) -> None:
        try:
            async with open_websocket(websocket) as ws:
                await ws.accept()
                await ws.send(f"hello {websocket.path_params['name']}")
                while self.pushes:
                    await ws.send("tick")
                    await anyio.sleep(1)
                async for message in ws:
                    await ws.send(message)
        except WebSocketDisconnected as exc:
            self.outcomes.append(exc)
        else:
            self.outcomes.append(None)

    def app(self) -> Starlette:
        async def endpoint(websocket: StarletteWebSocket) -> None:
            await self(websocket)

        return served(endpoint)


async def test_conversation() -> None:
    endpoint = Endpoint()
    async with testing.connect(endpoint.app(), path="/kiwi") as client:
        assert await client.receive() == "hello kiwi"
        await client.send("message")
        assert await client.receive() == "message"
    assert endpoint.outcomes == [None]


# contract: D1
async def test_the_cause_is_the_exception_of_the_server() -> None:
    failure = OSError("no route to host")
    endpoint = Endpoint(pushes=True)
    faults = [testing.FailSend(3, failure)]
    async with testing.connect(endpoint.app(), path="/kiwi", faults=faults) as client:
        await client.app_finished()
    (outcome,) = endpoint.outcomes
    assert isinstance(outcome, WebSocketDisconnected)
    assert outcome.__cause__ is failure


# contract: R7
async def test_the_server_is_asked_again_after_the_disconnect() -> None:
    """That is what frees a message which it could not queue."""
    pytest.importorskip("hypercorn")  # it is recognised only where it has been imported
    calls = 0
    server = testing.Server(personality=testing.HYPERCORN_TRIO)

    async def receive() -> Any:
        nonlocal calls
        calls += 1
        return await server.receive()

    endpoint = Endpoint()
    async with anyio.create_task_group() as group:
        group.start_soon(endpoint.app(), {**server.scope, "path": "/kiwi"}, receive, server.send)
        assert await server.peer.receive() == "hello kiwi"
        await anyio.wait_all_tasks_blocked()  # the handler reads, so the end is a normal one
        server.peer.vanish()
    assert endpoint.outcomes == [None]
    assert calls > 2  # the first two gave the connect event and the disconnect event


# contract: T2
async def test_options() -> None:
    async def endpoint(websocket: StarletteWebSocket) -> None:
        with suppress(WebSocketDisconnected):
            async with open_websocket(websocket, options=Options(allowed_origins=[])):
                pytest.fail("it was let in")

    headers = [(b"origin", b"https://evil.example")]
    with pytest.raises(testing.HandshakeDenied) as caught:
        async with testing.connect(served(endpoint), path="/kiwi", headers=headers):
            pass
    assert caught.value.status == 403


@pytest.mark.parametrize("use", ["accept", "receive", "close"])
async def test_a_websocket_in_use_is_refused(use: str) -> None:
    websocket = unused_websocket()
    await getattr(websocket, use)()
    with pytest.raises(LocalProtocolError, match="must be the first to use"):
        open_websocket(websocket)


async def test_nobody_else_sends_or_receives() -> None:
    websocket = unused_websocket()
    async with open_websocket(websocket) as ws:
        await ws.accept()
        with pytest.raises(RuntimeError, match="receive"):
            await websocket.receive()
        with pytest.raises(RuntimeError, match="send"):
            await websocket.send({"type": "websocket.send", "text": "from behind"})


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    with pytest.raises(ImportError, match=r"pip install 'wsnursery\[starlette\]'"):
        runpy.run_path(ours.__file__)
