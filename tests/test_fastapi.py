"""Handlers in FastAPI: `wsnursery.starlette.endpoint`, and the mistakes that people make there."""

import inspect
import logging
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import anyio
import fastapi
import pytest
from fastapi import APIRouter, Cookie, Depends, FastAPI
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from wsnursery import (
    LocalProtocolError,
    Options,
    WebSocket,
    WebSocketDisconnected,
    testing,
    websocket_app,
)
from wsnursery.starlette import endpoint


async def find_user(token: str = "nobody") -> str:
    return f"user of {token}"


async def test_an_endpoint_gets_what_fastapi_fills_in() -> None:
    app = FastAPI()

    @app.websocket("/rooms/{room}")
    @endpoint
    async def chat(
        ws: WebSocket,
        room: str,
        user: Annotated[str, Depends(find_user)],
        session: Annotated[str, Cookie()] = "none",
        page: int = 1,
    ) -> None:
        await ws.accept()
        await ws.send_json([room, user, session, page])

    headers = [(b"cookie", b"session=abc")]
    query = b"token=secret&page=7"
    async with testing.connect(app, path="/rooms/a", query_string=query, headers=headers) as client:
        assert await client.receive() == '["a","user of secret","abc",7]'


async def test_a_router_and_options() -> None:
    router = APIRouter(prefix="/api")

    @router.websocket("/feed")
    @endpoint(options=Options(max_message_size=3))
    async def feed(ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send(message)

    app = FastAPI()
    app.include_router(router)
    async with testing.connect(app, path="/api/feed") as client:
        await client.send("abc")
        assert await client.receive() == "abc"
        await client.send("abcd")
        await client.app_finished()
        assert client.transcript.app_close == (1009, "message too big")


async def test_both_classes_named_websocket() -> None:
    app = FastAPI()

    @app.websocket("/{room}")
    @endpoint
    async def chat(websocket: fastapi.WebSocket, room: str, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send(f"{room} {websocket.path_params['room']} {websocket.url.path}")

    async with testing.connect(app, path="/a") as client:
        assert await client.receive() == "a a /a"


async def test_a_session_that_is_a_dependency_is_closed_when_the_client_leaves() -> None:
    log: list[str] = []
    app = FastAPI()

    async def session() -> AsyncIterator[str]:
        log.append("opened")
        try:
            yield "session"
        finally:
            log.append("closed")

    @app.websocket("/")
    @endpoint
    async def chat(ws: WebSocket, session: Annotated[str, Depends(session)]) -> None:
        await ws.accept()
        await ws.send(session)
        await anyio.sleep_forever()

    async with testing.connect(app, path="/") as client:
        assert await client.receive() == "session"
        client.vanish()
        await client.app_finished()
    assert log == ["opened", "closed"]


async def test_annotations_that_are_strings() -> None:
    app = FastAPI()

    @endpoint
    async def chat(ws: "WebSocket", room: "str", unknown: "Unknown" = None) -> None:  # type: ignore[name-defined]  # noqa: F821
        await ws.accept()
        await ws.send(room)

    parameters = inspect.signature(chat).parameters
    assert [each.annotation for each in parameters.values()] == [fastapi.WebSocket, str, "Unknown"]

    @app.websocket("/{room}")
    @endpoint
    async def talk(ws: "WebSocket", room: "str") -> None:
        await ws.accept()
        await ws.send(room)

    async with testing.connect(app, path="/a") as client:
        assert await client.receive() == "a"


async def test_a_route_of_starlette() -> None:
    @endpoint
    async def chat(ws: WebSocket) -> None:
        """Talk."""
        await ws.accept()
        await ws.send(ws.scope["path_params"]["room"])

    assert (chat.__name__, chat.__doc__) == ("chat", "Talk.")
    app = Starlette(routes=[WebSocketRoute("/{room}", chat)])
    async with testing.connect(app, path="/a") as client:
        assert await client.receive() == "a"


# contract: D1
async def test_a_disconnect_is_a_normal_end(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()

    @app.websocket("/")
    @endpoint
    async def push(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep_forever()

    with caplog.at_level(logging.DEBUG, "wsnursery"):
        async with testing.connect(app, path="/") as client:
            client.vanish()
            await client.app_finished()
    assert "the WebSocket connection has ended" in caplog.text


async def test_the_end_of_another_connection_is_not_hidden() -> None:
    app = FastAPI()

    @app.websocket("/")
    @endpoint
    async def relay(ws: WebSocket) -> None:
        await ws.accept()
        raise WebSocketDisconnected(1000)

    with pytest.raises(WebSocketDisconnected):
        async with testing.connect(app, path="/") as client:
            await client.app_finished()


async def bare(ws: WebSocket) -> None: ...


decorated = websocket_app(bare)


@pytest.mark.parametrize("handler", [bare, decorated], ids=["bare", "websocket_app"])
@pytest.mark.parametrize("router", [FastAPI, APIRouter])
def test_fastapi_refuses_a_handler_at_import_with_the_right_call(
    router: Callable[[], Any], handler: Any
) -> None:
    with pytest.raises(TypeError, match=r"write @wsnursery\.starlette\.endpoint between"):
        router().websocket("/ws")(handler)


async def without_annotation(ws) -> None: ...


def test_fastapi_refuses_an_application_whose_handler_has_no_types() -> None:
    """It would take the argument for a query parameter, and deny every handshake with 403."""
    with pytest.raises(TypeError, match=r"write @wsnursery\.starlette\.endpoint between"):
        FastAPI().websocket("/ws")(websocket_app(without_annotation))


def plain(ws: WebSocket) -> None: ...


async def of_starlette(ws: fastapi.WebSocket) -> None: ...


@pytest.mark.parametrize(
    ("handler", "advice"),
    [
        (plain, "needs an async function, got plain"),
        (decorated, "needs an async function, got bare"),
        (of_starlette, "of_starlette must have a parameter of the type wsnursery.WebSocket"),
        (without_annotation, "import the class from wsnursery"),
    ],
)
def test_what_cannot_be_an_endpoint(handler: Any, advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        endpoint(handler)


async def test_an_endpoint_that_uses_the_other_websocket_first() -> None:
    app = FastAPI()

    async def greet(websocket: fastapi.WebSocket) -> None:
        await websocket.accept()

    @app.websocket("/", dependencies=[Depends(greet)])
    @endpoint
    async def chat(ws: WebSocket) -> None: ...

    with pytest.raises(LocalProtocolError, match="must be the first to use"):
        async with testing.connect(app, path="/") as client:
            await client.app_finished()
