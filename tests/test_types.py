"""What type checkers say of the calls that users write.

mypy and pyright read this file. Each `ignore` is a mistake that both must find, because both report
an ignore that is not needed. The tests run too, so that the same mistakes are seen at run time.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from functools import partial
from typing import Any, assert_type

import anyio
import pytest
import trio
from anyio import TaskHandle
from anyio.abc import TaskStatus
from pydantic import BaseModel, TypeAdapter

from wsnursery import Options, WebSocket, open_websocket, testing, websocket_app
from wsnursery.asgi import WebSocketApp


async def length(ws: WebSocket, text: str) -> int:
    await ws.send(text)
    return len(text)


async def announce(ws: WebSocket, *, task_status: TaskStatus[str]) -> int:
    task_status.started(ws.state)
    return 1


async def announce_to_trio(*, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
    task_status.started("ready")


class Service:
    async def run(self, ws: WebSocket, text: str = "default") -> bool:
        await ws.send(text)
        return True


async def test_children() -> None:
    server = testing.Server()
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        await ws.accept()
        handle = ws.start_soon(length, ws, "abc")
        assert_type(handle, TaskHandle[int])
        assert_type(await handle, int)
        assert_type(await ws.start_soon(Service().run, ws), bool)
        assert_type(await ws.start_soon(partial(length, text="abc"), ws), int)
        assert_type(await ws.start_soon(lambda: length(ws, "abc")), int)
        assert_type(ws.start_soon(anyio.sleep, 0, name="pause"), TaskHandle[None])
        assert_type(await ws.start(announce, ws), Any)
        assert_type(await ws.start(announce, ws, return_handle=True), TaskHandle[int, Any])
        assert await ws.start(announce_to_trio) == "ready"


async def test_mistakes_with_children() -> None:
    server = testing.Server()
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        await ws.accept()
        with pytest.raises(TypeError):
            ws.start_soon(length, ws)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            ws.start_soon(length, ws, "a", "b")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            ws.start_soon(length(ws, "a"))  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            ws.start_soon(print, "a")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await ws.start(print)  # type: ignore[arg-type]


# --------------------------------------------------------------------------- typed messages


class Command(BaseModel):
    text: str


COMMANDS: TypeAdapter[int | str] = TypeAdapter(int | str)


async def test_typed_messages() -> None:
    server = testing.Server()
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        await ws.accept()
        for message in ('{"text":"a"}', "1", '{"text":"b"}', '"c"'):
            await server.peer.send(message)
        assert_type(await ws.receive_as(Command), Command)
        assert_type(await ws.receive_as(COMMANDS), int | str)
        assert_type(await anext(ws.iter_as(Command)), Command)
        assert_type(await anext(ws.iter_as(COMMANDS)), int | str)
        with pytest.raises(TypeError):
            assert_type(await ws.receive_as(int | str), Any)
        with pytest.raises(anyio.WouldBlock):
            assert_type(ws.receive_nowait(), str | bytes)
        assert_type(ws.query_params.get("page"), str | None)
        assert_type(ws.header("host"), str | None)


# --------------------------------------------------------------------------- websocket_app


@websocket_app
async def bare(ws: WebSocket) -> None:
    await ws.accept()


@websocket_app(options=Options(send_buffer=1))
async def with_options(ws: WebSocket) -> None:
    await ws.accept()


@websocket_app()
async def with_parentheses(ws: WebSocket) -> None:
    await ws.accept()


async def in_a_room(room: str, ws: WebSocket) -> None:
    await ws.accept()


def test_applications() -> None:
    assert_type(bare, WebSocketApp)
    assert_type(with_options, WebSocketApp)
    assert_type(with_parentheses, WebSocketApp)
    assert_type(websocket_app(partial(in_a_room, "lobby")), WebSocketApp)
    assert_type(bare.__name__, str)


def test_mistakes_with_applications() -> None:
    with pytest.raises(TypeError):
        websocket_app(in_a_room)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        websocket_app(anyio.sleep_forever)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        websocket_app(Options())  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        websocket_app(options={})  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        websocket_app(Service)  # type: ignore[arg-type]


def plain(ws: WebSocket) -> None:
    assert ws.state == "connecting"


async def test_a_mistake_that_shows_when_a_client_comes() -> None:
    app = websocket_app(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        async with testing.connect(app):
            pass
