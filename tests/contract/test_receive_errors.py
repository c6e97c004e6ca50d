"""D9: an exception of middleware around `receive` does not mean that the client has left."""

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from tests.contract._bench import block, closes, leaves
from wsnursery import WebSocket, WebSocketDisconnected, testing, websocket_app


class Bug(Exception):
    """An error of middleware."""


NO_OSERRORS = [KeyError("user"), Bug("a middleware"), RuntimeError("x")]
BUGS = [*NO_OSERRORS, TimeoutError("a database")]


async def reads(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        await ws.send(message)


async def sleeps(ws: WebSocket) -> None:
    await ws.accept()
    await anyio.sleep_forever()


async def pushes(ws: WebSocket) -> None:
    await ws.accept()
    while True:
        await ws.send("tick")
        await anyio.sleep(1)


async def reads_in_a_child(ws: WebSocket) -> None:
    await ws.accept()
    ws.start_soon(_read, ws)
    await anyio.sleep_forever()


async def _read(ws: WebSocket) -> None:
    async for _ in ws:
        pass


# contract: D9
@pytest.mark.parametrize("error", BUGS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("handler", [reads, sleeps, pushes, reads_in_a_child])
async def test_it_leaves_as_itself(handler: Any, error: Exception) -> None:
    await raised_by_receive(handler, error, strict=False)


# contract: D9
@pytest.mark.parametrize("error", NO_OSERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("handler", [reads, sleeps, pushes, reads_in_a_child])
async def test_it_leaves_as_itself_in_strict_mode(handler: Any, error: Exception) -> None:
    await raised_by_receive(handler, error, strict=True)


async def raised_by_receive(handler: Any, error: Exception, *, strict: bool) -> None:
    server = testing.Server(faults=[testing.FailReceive(3, error)])
    server.peer.send_nowait("hello")  # the second event, behind the handshake
    ended = await block(server, handler, strict=strict)
    assert leaves(ended.error) == [error]
    if handler is not reads_in_a_child:  # there it may be the child that has failed (X2)
        assert ended.error is error
    assert [line[:14] for line in closes(server)] == ["app close 1011"]


# contract: D9
async def test_before_accept() -> None:
    error = KeyError("user")
    server = testing.Server(faults=[testing.FailReceive(1, error)])
    ended = await block(server, reads)
    assert ended.error is error


# contract: D9, X8
async def test_the_server_is_notified() -> None:
    """A bug in `receive` of a middleware, at one message of many."""

    def around(app: Any) -> Any:
        async def outer(scope: Any, receive: Any, send: Any) -> None:
            async def count_words() -> Mapping[str, Any]:
                event: Mapping[str, Any] = await receive()
                if event.get("text") == "boom":
                    raise KeyError("user")
                return event

            await app(scope, count_words, send)

        return outer

    with pytest.raises(KeyError, match="user"):
        async with testing.connect(around(websocket_app(reads))) as client:
            await client.send("hello")
            assert await client.receive() == "hello"
            await client.send("boom")
            with pytest.raises(testing.ConnectionEnded) as caught:
                await client.receive()
            assert caught.value.code == 1011


# contract: D9
@pytest.mark.parametrize("error", [OSError("reset"), ConnectionResetError(), BrokenPipeError()])
@pytest.mark.parametrize("strict", [False, True])
async def test_an_oserror_means_gone(error: Exception, strict: bool) -> None:
    server = testing.Server(faults=[testing.FailReceive(2, error)])
    ended = await block(server, reads, strict=strict)
    assert ended.own.__cause__ is error


# contract: D9
async def test_once_the_disconnect_is_known_it_is_only_noise() -> None:
    """The drain after the end receives again: an exception of that call is ignored."""
    server = testing.Server(faults=[testing.FailReceive(3, KeyError("after the end"))])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.vanish()
        with pytest.raises(WebSocketDisconnected):
            await ws.receive()

    ended = await block(server, body)
    assert ended.error is None
