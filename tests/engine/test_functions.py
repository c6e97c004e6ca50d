"""The functions of users: which are refused, where, and with which advice."""

import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import anyio
import pytest

from wsnursery import Options, WebSocket, open_websocket, testing, websocket_app
from wsnursery.starlette import endpoint


async def handle(ws: WebSocket) -> None:
    """Say who is there."""
    await ws.accept()
    await ws.send("here")


async def handle_room(room: str, ws: WebSocket) -> None:
    await ws.accept()
    await ws.send(room)


class Chat:
    def __init__(self) -> None:
        self._options = "the object's own"

    async def handle(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send(self._options)

    async def __call__(self, ws: WebSocket) -> None:
        await self.handle(ws)


def wrapped(ws: WebSocket) -> Any:
    return handle(ws)


@pytest.mark.parametrize(
    ("handler", "name", "sent"),
    [
        (handle, "handle", "here"),
        (partial(handle_room, "lobby"), "handle_room", "lobby"),
        (Chat().handle, "Chat.handle", "the object's own"),
        (wrapped, "wrapped", "here"),
    ],
    ids=["function", "partial", "method", "plain function that returns an awaitable"],
)
async def test_what_can_be_a_handler(handler: Any, name: str, sent: str) -> None:
    app = websocket_app(handler)
    assert app.__qualname__ == name
    assert app.__wrapped__ is handler
    assert repr(app) == f"<WebSocketApp {name}: 0 open>"
    async with testing.connect(app) as client:
        assert await client.receive() == sent


async def test_an_object_that_can_be_called() -> None:
    chat = Chat()
    app = websocket_app(chat)
    assert app.__wrapped__ is chat
    async with testing.connect(app) as client:
        assert await client.receive() == "the object's own"


def test_an_application_looks_like_its_handler() -> None:
    app = websocket_app(handle)
    assert (app.__name__, app.__qualname__) == ("handle", "handle")
    assert app.__doc__ == "Say who is there."
    assert app.__module__ == __name__


async def asyncgen(ws: WebSocket) -> AsyncIterator[str]:
    yield "x"


def generator(ws: WebSocket) -> Iterator[str]:
    yield "x"


async def without_argument() -> None: ...


@pytest.mark.parametrize(
    ("handler", "advice"),
    [
        (Options(), r"write @websocket_app(options=Options(...))"),
        (Chat, "write Chat() with an object"),
        (Chat.handle, "but Chat.handle takes (self, ws: "),
        (handle_room, "give the others with functools.partial"),
        (without_argument, "but without_argument takes () ->"),
        (asyncgen, "must not yield: send with `await ws.send(...)` in asyncgen"),
        (generator, "must not yield"),
        (3, "must be an async function, got int"),
        (None, "must be an async function, got NoneType"),
    ],
)
def test_what_cannot_be_a_handler(handler: Any, advice: str) -> None:
    with pytest.raises(TypeError, match=re.escape(advice)):
        websocket_app(options=Options())(handler)


def open_at_server(options: Any) -> WebSocket:
    server = testing.Server()
    return open_websocket(server.scope, server.receive, server.send, options=options)


@pytest.mark.parametrize("give", [websocket_app, endpoint, open_at_server])
def test_options_that_are_a_dictionary(give: Any) -> None:
    with pytest.raises(TypeError, match=r"got dict: write options=Options\(\.\.\.\)"):
        give(options={"grace_period": 1})


def test_a_coroutine_is_not_a_handler() -> None:
    ws: Any = None
    with pytest.raises(TypeError, match=r"write handle, not handle\(\)"):
        websocket_app(handle(ws))  # type: ignore[call-overload]


def test_a_function_without_a_signature() -> None:
    handler: Any = max
    assert repr(websocket_app(handler)) == "<WebSocketApp max: 0 open>"


async def test_a_plain_function_is_found_out_when_a_client_comes() -> None:
    def plain(ws: WebSocket) -> None:
        pass

    app = websocket_app(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="plain returned NoneType: write `async def`"):
        async with testing.connect(app):
            pytest.fail("it was let in")


async def test_open_connections_are_counted_in_what_it_says() -> None:
    @websocket_app
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep_forever()

    async with testing.connect(app):
        assert repr(app).endswith("app: 1 open>")
