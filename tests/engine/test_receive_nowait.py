"""`receive_nowait`: returns what has already arrived, without waiting."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

from tests.contract._bench import block
from tests.faults._opened import opened
from wsnursery import (
    LocalProtocolError,
    Options,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
)
from wsnursery._engine.incoming import IncomingSide
from wsnursery._engine.websocket import connection_of


async def there(server: testing.Server, *messages: str | bytes) -> None:
    """Let the peer send, and the messages arrive."""
    for message in messages:
        server.peer.send_nowait(message)
    await anyio.wait_all_tasks_blocked()


def all_there(ws: WebSocket) -> list[str | bytes]:
    found: list[str | bytes] = []
    while True:
        try:
            found.append(ws.receive_nowait())
        except anyio.WouldBlock:
            return found


async def test_it_takes_what_is_there_in_order() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(
            anyio.WouldBlock, match=r"no message is waiting: use `await ws\.receive"
        ):
            ws.receive_nowait()
        await there(server, *(str(number) for number in range(10)))
        assert all_there(ws) == [str(number) for number in range(10)]
        await there(server, b"bytes")
        assert ws.receive_nowait() == b"bytes"
        assert all_there(ws) == []

    assert (await block(server, body)).error is None


async def test_receive_goes_on_where_it_stopped() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await there(server, "a", "b", "c")
        assert [await ws.receive(), ws.receive_nowait(), await ws.receive()] == ["a", "b", "c"]

    assert (await block(server, body)).error is None


async def test_it_makes_room_for_more() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await there(server, *"abcdefgh")
        seen: list[str | bytes] = []
        while len(seen) < 8:
            seen += all_there(ws)
            await anyio.sleep(0.1)
        assert seen == list("abcdefgh")

    assert (await block(server, body, receive_buffer=2)).error is None


# contract: R2
async def test_after_a_clean_end() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("ready")
        server.peer.send_nowait("last")
        server.peer.close(4000, "bye")
        await anyio.sleep(1)
        assert ws.receive_nowait() == "last"
        with pytest.raises(WebSocketDisconnected) as caught:
            ws.receive_nowait()
        assert caught.value.code == 4000

    ended = await block(server, body)
    assert ended.error is None or ended.own.code == 4000


async def test_beside_a_reader() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as group:
            group.start_soon(ws.receive)
            await anyio.wait_all_tasks_blocked()
            advice = "another task is reading this WebSocket: let one task read"
            with pytest.raises(anyio.BusyResourceError, match=advice):
                ws.receive_nowait()
            with pytest.raises(anyio.BusyResourceError, match=advice):
                await ws.receive()
            group.cancel_scope.cancel()

    assert (await block(server, body)).error is None


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        ("nothing", LocalProtocolError),
        ("close", anyio.ClosedResourceError),
        ("leave", anyio.ClosedResourceError),
    ],
)
async def test_when_it_may_not(prepare: str, error: type[Exception]) -> None:
    refused: Callable[[WebSocket], object] = lambda ws: ws.receive_nowait()  # noqa: E731
    async with opened(testing.Server()) as ws:
        if prepare == "nothing":
            with pytest.raises(error, match="accept"):
                refused(ws)
        await ws.accept()
        if prepare == "close":
            await ws.close()
            with pytest.raises(error):
                refused(ws)
    with pytest.raises(anyio.ClosedResourceError, match="has been left"):
        refused(ws)


async def test_before_entry() -> None:
    with pytest.raises(LocalProtocolError, match="async with"):
        opened(testing.Server()).receive_nowait()


# ------------------------------------------------- where a reader receives from the server itself


class Queue:
    """The queue of a server in which a reader waits itself: a trio channel or an asyncio queue."""

    def __init__(self) -> None:
        if anyio.get_cancelled_exc_class() is trio.Cancelled:
            into, out_of = trio.open_memory_channel[Any](100)
            self.put: Callable[[Any], None] = into.send_nowait
            self.receive: Callable[[], Awaitable[Any]] = out_of.receive
        else:
            queue: asyncio.Queue[Any] = asyncio.Queue(100)
            self.put, self.receive = queue.put_nowait, queue.get
        self.put({"type": "websocket.connect"})

    async def send(self, event: Any) -> None:
        await anyio.lowlevel.checkpoint()

    def put_texts(self, *texts: str) -> None:
        for text in texts:
            self.put({"type": "websocket.receive", "text": text})


async def test_it_takes_from_the_servers_own_queue() -> None:
    queue = Queue()
    scope = {"type": "websocket", "asgi": {"version": "3.0"}, "headers": [], "subprotocols": []}
    async with open_websocket(scope, queue.receive, queue.send) as ws:
        await ws.accept()
        queue.put_texts("a")
        assert await ws.receive() == "a"
        assert type(connection_of(ws).incoming) is not IncomingSide, "a reader is to receive itself"
        queue.put_texts("b", "c")
        await anyio.wait_all_tasks_blocked()
        assert all_there(ws) == ["b", "c"]
        queue.put_texts("d", "e")
        assert [await ws.receive(), ws.receive_nowait()] == ["d", "e"]
        queue.put_texts("f")
        queue.put({"type": "websocket.disconnect", "code": 1000})
        assert ws.receive_nowait() == "f"
        with pytest.raises(WebSocketDisconnected):
            ws.receive_nowait()


async def test_it_takes_what_no_task_has_received() -> None:
    """A reader has replaced the receiver task, and no message has waited in the inbox yet."""
    queue = Queue()
    scope = {"type": "websocket", "asgi": {"version": "3.0"}, "headers": [], "subprotocols": []}
    async with open_websocket(scope, queue.receive, queue.send) as ws:
        await ws.accept()
        reading = ws.start_soon(ws.receive)
        await anyio.wait_all_tasks_blocked()
        queue.put_texts("a")
        assert await reading == "a"
        queue.put_texts("b", "c")
        assert all_there(ws) == ["b", "c"]
        assert ws.statistics().messages_received == 3
        queue.put({"type": "websocket.disconnect", "code": 1000})


async def test_the_rate_holds_there_too() -> None:
    queue = Queue()
    scope = {"type": "websocket", "asgi": {"version": "3.0"}, "headers": [], "subprotocols": []}
    options = Options(max_messages_per_second=1, message_burst=5)
    seen: list[str | bytes] = []
    async with open_websocket(scope, queue.receive, queue.send, options=options) as ws:
        await ws.accept()
        for number in range(10):
            queue.put_texts(str(number))
        seen.extend([message async for message in ws])
        assert (ws.close_code, ws.close_reason) == (1008, "too many messages")
        queue.put({"type": "websocket.disconnect", "code": 1008})
    assert seen == ["0", "1", "2", "3", "4"]
