"""`wsnursery.starlette`: endpoints of Starlette that hand their WebSocket over."""

import runpy
import sys
from contextlib import suppress
from typing import Annotated, Any

import anyio
import fastapi
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException, WebSocketException
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as StarletteWebSocket

import wsnursery
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
    """This frees a message that the server could not queue."""
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


async def test_no_other_task_sends_or_receives() -> None:
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


# ------------------------------------------------------------- what the framework's exceptions mean

PERSONALITIES = [testing.UVICORN, testing.HYPERCORN_TRIO, testing.DAPHNE]


async def in_the_body(ws: Any, error: Exception) -> None:
    raise error


async def in_a_child(ws: Any, error: Exception) -> None:
    async def child() -> None:
        raise error

    ws.start_soon(child)
    await anyio.sleep_forever()


async def in_a_late_child(ws: Any, error: Exception) -> None:
    """It fails when the body has ended."""

    async def child() -> None:
        await anyio.sleep(1)
        raise error

    ws.start_soon(child)


PLACES = [in_the_body, in_a_child, in_a_late_child]


def raising(place: Any, error: Exception, *, accepts: bool) -> Any:
    async def endpoint(websocket: StarletteWebSocket) -> None:
        async with open_websocket(websocket) as ws:
            if accepts:
                await ws.accept()
            await place(ws, error)

    return served(endpoint)


def with_dependency(error: Exception, *, accepts: bool, inside: bool) -> Any:
    """The block is a dependency with `yield`; the error is raised in it or in the endpoint."""

    async def opened(websocket: fastapi.WebSocket) -> Any:
        async with open_websocket(websocket) as ws:
            if accepts:
                await ws.accept()
            yield ws
            if inside:
                raise error

    app = fastapi.FastAPI()

    @app.websocket("/{name}")
    async def endpoint(ws: Annotated[Any, fastapi.Depends(opened)]) -> None:
        if not inside:
            raise error

    return app


def apps(error: Exception, *, accepts: bool) -> list[Any]:
    return [
        *[raising(place, error, accepts=accepts) for place in PLACES],
        with_dependency(error, accepts=accepts, inside=False),
        with_dependency(error, accepts=accepts, inside=True),
    ]


# contract: X1, X2
@pytest.mark.parametrize("personality", PERSONALITIES, ids=lambda p: p.name)
async def test_a_websocket_exception_closes_with_its_code(personality: Any) -> None:
    for app in apps(WebSocketException(4008, "token expired"), accepts=True):
        async with testing.connect(app, path="/kiwi", personality=personality) as client:
            with pytest.raises(testing.ConnectionEnded) as caught:
                await client.receive()
            await client.app_finished()  # nothing is left for the server's log
        assert (caught.value.code, caught.value.reason) == (4008, "token expired")
        assert client.transcript.violations == []


async def test_a_websocket_exception_before_accept_denies() -> None:
    for app in apps(WebSocketException(1008), accepts=False):
        with pytest.raises(testing.HandshakeDenied) as caught:
            async with testing.connect(app, path="/kiwi"):
                pass
        assert caught.value.status == 403


async def test_a_websocket_exception_that_cannot_be_sent() -> None:
    app = raising(in_the_body, WebSocketException(1005), accepts=True)
    async with testing.connect(app, path="/kiwi") as client:
        with pytest.raises(testing.ConnectionEnded) as caught:
            await client.receive()
    assert caught.value.code == 1011


# contract: C6
@pytest.mark.parametrize("personality", PERSONALITIES, ids=lambda p: p.name)
async def test_an_http_exception_denies_with_its_status(personality: Any) -> None:
    extended = "websocket.http.response" in (personality.extensions or ())
    error = HTTPException(401, "no token", {"www-authenticate": "Bearer"})
    for app in apps(error, accepts=False):
        with pytest.raises(testing.HandshakeDenied) as caught:
            async with testing.connect(app, path="/kiwi", personality=personality):
                pass
        assert caught.value.status == (401 if extended else 403)
        if extended:
            assert (b"www-authenticate", b"Bearer") in caught.value.headers
            assert b"no token" in caught.value.body


async def test_an_http_exception_after_accept_is_one_error() -> None:
    for app in apps(HTTPException(401), accepts=True):
        with pytest.raises(LocalProtocolError, match=r"raise WebSocketException\(code, reason\)"):
            async with testing.connect(app, path="/kiwi", personality=testing.UVICORN) as client:
                with pytest.raises(testing.ConnectionEnded) as caught:
                    await client.receive()
                await client.app_finished()
        assert caught.value.code == 1011
        assert client.transcript.violations == []


async def test_other_errors_and_several_errors_are_those_of_the_block() -> None:
    async def two_children(ws: Any, error: Exception) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(in_the_body, ws, error)

    for place, kind in ((in_the_body, KeyError), (two_children, ExceptionGroup)):
        error: Exception = KeyError("x") if kind is KeyError else WebSocketException(4008)
        app = raising(place, error, accepts=True)
        with pytest.raises(kind):
            async with testing.connect(app, path="/kiwi") as client:
                await client.app_finished()
        assert client.server.transcript.app_close == (1011, "")


async def test_close_of_the_frameworks_websocket() -> None:
    websocket = unused_websocket()
    async with open_websocket(websocket) as ws:
        await ws.accept()
        with pytest.raises(LocalProtocolError, match="call close"):
            await websocket.close()
    await websocket.close()  # a second close has no effect


def test_the_methods_of_starlettes_websocket_are_refused() -> None:
    websocket = unused_websocket()
    server: Any = testing.Server()
    for receive, send in ((websocket.receive, server.send), (server.receive, websocket.send)):
        with pytest.raises(TypeError, match=r"write wsnursery.starlette.open_websocket"):
            wsnursery.open_websocket(server.scope, receive, send)
