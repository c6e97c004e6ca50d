"""Faults of a server that is called in place: its queue is a real one, its ``send`` does anything.

What goes well is in `tests/contract`, over both paths, and in `tests/hypercorn/test_in_place.py`.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, cast

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from tests._helpers import be_cancelled_as_it_ends
from wsnursery import (
    Options,
    RemoteProtocolError,
    Room,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
)
from wsnursery._backend.queues import AsyncioQueue, TrioQueue
from wsnursery._backend.running import running_on_trio
from wsnursery._engine.connection import Sides
from wsnursery._engine.filling import READ_AT_ONCE
from wsnursery._engine.websocket import connection_of
from wsnursery._engine.wire import BUDGET
from wsnursery.asgi._receiving import AsyncioIncoming, TrioIncoming
from wsnursery.asgi._sending import AsyncioOutgoing, TrioOutgoing
from wsnursery.asgi._transport import ASGITransport
from wsnursery.transports import make_websocket

DISCONNECT = {"type": "websocket.disconnect", "code": 4001, "reason": ""}
GARBAGE = {"type": "websocket.receive", "text": 1}
UNHEARD = {"type": "websocket.unheard"}


def text(message: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": message}


class Interrupt(BaseException):
    """Ends the program, as Ctrl-C does."""


class Server:
    """It delivers through trio's or asyncio's queue, and the test controls its send."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.on_accept: Callable[[], Any] = lambda: None
        self.on_send: Callable[[], Any] = lambda: None
        """Called in each send of a message; it may raise, or return an awaitable."""
        self.put: Callable[[Any], None]
        self.queue: Any
        if running_on_trio():
            import trio

            put, channel = trio.open_memory_channel[Any](math.inf)
            self.put = put.send_nowait
            self.queue = TrioQueue(channel)
            in_place = self.queue.receive
            self.queue.receive = partial(self._received, in_place)
            self.receive = partial(self._received, channel.receive)
        else:
            events = asyncio.Queue[Any]()
            self.put = events.put_nowait
            self.receive = partial(self._received, events.get)
            self.queue = AsyncioQueue(self.receive, events, needs_aftercare=True)
        self.put({"type": "websocket.connect"})

    async def _received(self, get: Callable[[], Any]) -> Any:
        event = await get()
        if isinstance(event, BaseException):
            raise event
        return event

    async def send(self, event: Any) -> None:
        if running_on_trio():
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                await self._send(event)
        else:
            await self._send(event)

    async def _send(self, event: Any) -> None:
        if event["type"] == "websocket.send" and (wait := self.on_send()) is not None:
            await wait
        if event["type"] == "websocket.accept" and (wait := self.on_accept()) is not None:
            await wait
        self.sent.append(event)

    @property
    def messages(self) -> list[str]:
        return [event["text"] for event in self.sent if event["type"] == "websocket.send"]

    def open(self, **options: Any) -> WebSocket:
        given, parts = Options(**options), (self.receive, cast("Any", self.send))
        transport = ASGITransport(testing.Server().scope, *parts, given)
        if running_on_trio():
            sides = Sides(
                partial(TrioIncoming, self.queue, transport.parse),
                partial(TrioOutgoing, parts[1], lambda _: True),
            )
        else:
            sides = Sides(
                partial(AsyncioIncoming, self.queue, transport.parse),
                partial(AsyncioOutgoing, parts[1]),
            )
        return make_websocket(transport, given, sides)


def once(error: BaseException) -> Callable[[], None]:
    """Raise it in the first send."""
    errors = [error]

    def on_send() -> None:
        if errors:
            raise errors.pop()

    return on_send


async def read(ws: WebSocket, server: Server, times: int = 2) -> None:
    """The first message may come from the receiver task; from then on the body receives itself."""
    for number in range(times):
        server.put(text(str(number)))
        assert await ws.receive() == str(number)


# contract: T4
async def test_an_unknown_event_is_skipped() -> None:
    server = Server()
    async with server.open() as ws:
        await ws.accept()
        await read(ws, server)
        server.put(UNHEARD)
        server.put(text("second"))
        assert await ws.receive() == "second"


# contract: T4
@pytest.mark.parametrize("first", [False, True])
async def test_an_event_that_breaks_the_protocol(first: bool) -> None:
    server = Server()
    with pytest.raises(RemoteProtocolError, match="neither 'text' nor 'bytes'"):
        async with server.open() as ws:
            await ws.accept()
            if not first:
                await read(ws, server)
            server.put(GARBAGE)
            await ws.receive()
    assert server.sent[-1]["code"] == 1011


# contract: D9
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("gone", [False, True])
async def test_a_receive_that_raises(first: bool, gone: bool) -> None:
    """Only an `OSError` means that the client is gone."""
    server = Server()
    error = OSError("gone") if gone else ValueError("a bug")
    with pytest.raises(WebSocketDisconnected if gone else ValueError) as caught:
        async with server.open() as ws:
            await ws.accept()
            if not first:
                await read(ws, server)
            server.put(error)
            await ws.receive()
    assert (caught.value.__cause__ if gone else caught.value) is error


# contract: S2
async def test_a_send_that_refuses_one_message() -> None:
    """The error belongs to that call, and the connection continues with the queue."""
    server = Server()
    async with server.open() as ws:
        await ws.accept()

        def refuses() -> None:
            server.on_send = lambda: None
            ws.send_nowait("b")
            raise ValueError("not this one")

        server.on_send = once(ValueError("not this one"))
        with pytest.raises(ValueError, match="not this one"):
            await ws.send("a")
        await ws.send("a")
        server.on_send = refuses
        with pytest.raises(ValueError, match="not this one"):
            await ws.send("x")
        await ws.flush()
    assert server.messages == ["a", "b"]


# contract: D8
@pytest.mark.parametrize("times", [0, 1, 2])
async def test_a_disconnect_that_waits_in_the_queue(times: int) -> None:
    """It has the code, also while a reader takes over from the receiver task."""
    server = Server()
    with pytest.raises(WebSocketDisconnected) as caught:
        async with server.open() as ws:
            await ws.accept()
            await read(ws, server, times)
            for event in (UNHEARD, text("second"), DISCONNECT):
                server.put(event)
            server.on_send = once(OSError("gone"))
            await ws.send("x")
    assert caught.value.code == 4001


# contract: D8, T4
async def test_garbage_that_waits_in_the_queue() -> None:
    server = Server()
    with pytest.raises(RemoteProtocolError, match="neither 'text' nor 'bytes'"):
        async with server.open() as ws:
            await ws.accept()
            await read(ws, server)
            for event in (GARBAGE, text("second"), DISCONNECT):
                server.put(event)
            server.on_send = once(OSError("gone"))
            await ws.send("x")


# contract: X9
async def test_a_send_that_is_interrupted() -> None:
    server = Server()
    interrupt = Interrupt()
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - it may be in groups
        async with server.open() as ws:
            await ws.accept()
            server.on_send = once(interrupt)
            await ws.send("x")
    found = caught.value
    while isinstance(found, BaseExceptionGroup):
        (found,) = found.exceptions
    assert found is interrupt
    assert ws.statistics().send_buffer_used == 0


# contract: D1, D3
@pytest.mark.parametrize("iterating", [False, True])
async def test_a_reader_is_informed_of_a_failed_send(iterating: bool) -> None:
    server = Server()
    informed: list[object] = []

    async def sends(ws: WebSocket) -> None:
        server.on_send = once(OSError("gone"))
        await ws.send("x")

    with pytest.raises(WebSocketDisconnected):
        async with server.open() as ws:
            await ws.accept()
            await read(ws, server)
            ws.start_soon(sends, ws)
            try:
                if iterating:
                    async for _ in ws:
                        pass
                    informed.append("stopped")
                else:
                    await ws.receive()
            except WebSocketDisconnected as exc:
                informed.append(exc)
                raise
            finally:
                await anyio.sleep(0.1)  # a notified task may unwind
                informed.append("unwound")
    assert len(informed) == 2


# contract: L2, S10
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("child", [False, True])
async def test_a_send_that_comes_back_late(fails: bool, child: bool) -> None:
    """The block waits for it, although the connection has ended."""
    if not running_on_trio():
        pytest.skip("on asyncio it is cancelled")
    server = Server()
    go_on = anyio.Event()

    async def waits() -> None:
        await go_on.wait()
        if fails:
            raise ValueError("late")

    async def sends(ws: WebSocket) -> None:
        with suppress(WebSocketDisconnected, anyio.ClosedResourceError):
            await ws.send("x")

    async def main() -> None:
        async with server.open() as ws:
            await ws.accept()
            await read(ws, server)
            server.on_send = waits
            (ws if child else group).start_soon(sends, ws)
            await anyio.sleep(0.01)
            server.put(DISCONNECT)
            async for _ in ws:
                pass

    async with anyio.create_task_group() as group:
        group.start_soon(_later, 3, go_on.set)
        await main()
        assert anyio.current_time() >= 3


async def _later(seconds: float, action: Callable[[], object]) -> None:
    await anyio.sleep(seconds)
    action()


# contract: L2
@pytest.mark.parametrize("late", [5, READ_AT_ONCE + 1])
async def test_what_comes_after_the_block_is_taken(late: int) -> None:
    """The server would wait for ever with a full queue, but there is a limit."""
    server = Server()
    async with server.open() as ws:
        await ws.accept()
        await read(ws, server)
        for number in range(5):
            server.put(text(str(number)))
    for number in range(late):
        server.put(text(str(number)))
    if late > 5:
        await anyio.sleep(0.03)
        server.put(text("more"))
    await anyio.sleep(3)
    assert (server.queue.take() is None) == (late == 5)


# contract: L7
async def test_uvicorn_is_recognised_by_its_own_names() -> None:
    if running_on_trio():
        pytest.skip("uvicorn runs on asyncio")
    queue = asyncio.Queue[Any]()

    class Protocol:
        __module__ = "uvicorn.protocols.websockets.wsproto_impl"

        def __init__(self) -> None:
            self.queue = queue
            self.sent: list[Any] = []

        async def receive(self) -> Any:
            return await queue.get()

        async def send(self, event: Any) -> None:
            self.sent.append(event)

    protocol = Protocol()
    queue.put_nowait({"type": "websocket.connect"})
    before = len(asyncio.all_tasks())
    async with open_websocket(testing.Server().scope, protocol.receive, protocol.send) as ws:
        await ws.accept()
        for message in "abc":
            queue.put_nowait(text(message))
            await ws.send(await ws.receive())
        assert len(asyncio.all_tasks()) <= before + 1
        await anyio.sleep(5)
    assert [event.get("text") for event in protocol.sent[1:4]] == ["a", "b", "c"]


# contract: R1
async def test_a_message_that_arrives_during_the_accept() -> None:
    server = Server()

    def early() -> Any:
        server.put(text("early"))
        return anyio.sleep(0.01)

    server.on_accept = early
    async with server.open() as ws:
        await ws.accept()
        assert await ws.receive() == "early"


# contract: R6, D8
async def test_a_large_message_that_waits_in_the_queue() -> None:
    server = Server()
    with pytest.raises(WebSocketDisconnected) as caught:
        async with server.open(max_message_size=10) as ws:
            await ws.accept()
            await read(ws, server)
            for event in (text("x" * 11), DISCONNECT):
                server.put(event)
            server.on_send = once(OSError("gone"))
            await ws.send("x")
    assert caught.value.code == 1009


# contract: D3
async def test_a_reader_that_is_cancelled_in_the_turn_of_the_end() -> None:
    """It has not been notified, so its next call notifies it."""
    server = Server()
    with pytest.raises(WebSocketDisconnected):
        async with server.open() as ws:
            await ws.accept()
            await read(ws, server)
            await be_cancelled_as_it_ends(ws)


# contract: X3, D3
async def test_a_reader_that_is_cancelled_natively_in_the_turn_of_the_end() -> None:
    if running_on_trio():
        pytest.skip("a native cancellation is asyncio's")
    server = Server()

    async def main() -> None:
        async with server.open() as ws:
            await ws.accept()
            await read(ws, server)

            async def both() -> None:
                task.cancel()
                connection_of(ws).lifecycle.end_abnormally(OSError("gone"))

            ws.start_soon(both)
            await ws.receive()

    task = asyncio.create_task(main())
    with pytest.raises(asyncio.CancelledError):
        await task


# contract: S10
@pytest.mark.parametrize(("seconds", "dropped"), [(0.5, []), (1.5, [1.0])])
async def test_a_send_that_is_stuck_when_the_connection_ends(
    seconds: float, dropped: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network connection is dropped a second later, unless the send has come back by then."""
    if not running_on_trio():
        pytest.skip("on asyncio the sender task takes over the call")
    drops: list[float] = []
    monkeypatch.setattr(ASGITransport, "abort", lambda _: drops.append(anyio.current_time()))
    server = Server()

    async def stuck() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(seconds)

    start = 0.0
    async with server.open() as ws:
        await ws.accept()
        server.on_send = stuck

        async def end() -> None:
            nonlocal start
            start = anyio.current_time()
            connection_of(ws).lifecycle.end_abnormally(OSError("gone"))

        ws.start_soon(end)
        with anyio.CancelScope(shield=True):
            await ws.send("x")
            await anyio.sleep(2)
    assert server.messages == ["x"]
    assert [at - start for at in drops] == pytest.approx(dropped, abs=0.1)


# contract: B1, S1
@pytest.mark.parametrize("waits", [False, True])
async def test_a_room_sends_in_place(waits: bool) -> None:
    server, room = Server(), Room("kiwi")
    async with server.open() as ws:
        await ws.accept()
        with room.joined(ws):
            if waits:
                server.on_send = partial(anyio.sleep, 0.01)
            for message in "abc":
                assert room.publish(message) == 1
            await anyio.sleep(1)
    assert server.messages == ["a", "b", "c"]


# contract: D1
async def test_a_room_meets_a_send_that_fails() -> None:
    server, room = Server(), Room("kiwi")
    with pytest.raises(WebSocketDisconnected):
        async with server.open() as ws:
            await ws.accept()
            with room.joined(ws):
                server.on_send = once(OSError("gone"))
                room.publish("x")
                await ws.receive()


# contract: X9
async def test_a_room_meets_a_send_that_is_interrupted() -> None:
    if running_on_trio():
        pytest.skip("on trio the sender task makes the call")
    server, room = Server(), Room("kiwi")
    with pytest.raises(Interrupt):
        async with server.open() as ws:
            await ws.accept()
            with room.joined(ws):
                server.on_send = once(Interrupt())
                room.publish("x")
    assert ws.statistics().send_buffer_used == 0


# contract: T5
async def test_a_send_from_another_thread() -> None:
    server = Server()
    async with server.open() as ws:
        await ws.accept()

        def elsewhere() -> None:
            with pytest.raises(RuntimeError, match="event loop"):
                ws.send("x").send(None)

        await anyio.to_thread.run_sync(elsewhere)
        await ws.send("y")
    assert server.messages == ["y"]


# contract: S8, R4, D1
@pytest.mark.parametrize("how", ["close", "end"])
async def test_a_reader_that_finds_every_event_lets_others_run(how: str) -> None:
    """What another task does meanwhile counts for this call: nothing more is read."""
    server = Server()
    got = 0
    ends = pytest.raises(WebSocketDisconnected) if how == "end" else nullcontext()

    async def stops(ws: WebSocket) -> None:
        with pytest.raises(anyio.BusyResourceError):
            await ws.receive()
        if how == "close":
            await ws.close()
        else:
            server.on_send = once(OSError("gone"))
            with suppress(WebSocketDisconnected):
                await ws.send("x")

    with ends:
        async with server.open() as ws:
            await ws.accept()
            await read(ws, server)
            for number in range(100):
                server.put(text(str(number)))
            ws.start_soon(stops, ws)
            async for _ in ws:
                got += 1
    assert got <= 2 * BUDGET  # the refused call lets others run, too


# contract: S8
async def test_a_task_of_no_connection_that_finds_every_event_lets_others_run() -> None:
    server = Server()
    turns = 0

    async def counts() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async def reads(ws: WebSocket) -> None:
        group.start_soon(counts)
        await anyio.lowlevel.checkpoint()
        for _ in range(100):
            await ws.receive()
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group, server.open() as ws:
        await ws.accept()
        await read(ws, server)
        for number in range(100):
            server.put(text(str(number)))
        group.start_soon(reads, ws)
        await anyio.sleep_forever()
    assert turns >= 100 // BUDGET


# contract: R1
async def test_binary_messages_that_have_arrived() -> None:
    server = Server()
    async with server.open() as ws:
        await ws.accept()
        await read(ws, server)
        for message in (b"a", b"b"):
            server.put({"type": "websocket.receive", "bytes": message})
        assert [await ws.receive(), await ws.receive()] == [b"a", b"b"]


def sender_tasks() -> set[Any]:
    return {task for task in asyncio.all_tasks() if task.get_name() == "wsnursery sender"}


# contract: L7
async def test_the_task_that_finishes_a_send_waits_a_while_for_another() -> None:
    if running_on_trio():
        pytest.skip("on trio no task takes over a send that has been begun")
    server = Server()
    async with server.open() as ws:
        await ws.accept()
        await read(ws, server)
        assert not sender_tasks()
        server.on_send = partial(anyio.sleep, 0.01)
        await ws.send("a")
        tasks = sender_tasks()
        await ws.send("b")
        assert sender_tasks() == tasks
        assert len(tasks) == 1
        await anyio.sleep(3)
        assert not sender_tasks()
    assert server.messages == ["a", "b"]


# contract: S3
async def test_a_send_in_place_follows_one_that_was_withdrawn() -> None:
    if running_on_trio():
        pytest.skip("on trio no task takes over a send that has been begun")
    server = Server()
    callers: list[object] = []
    async with server.open() as ws:
        await ws.accept()
        await read(ws, server)
        server.on_send = partial(anyio.sleep, 0.02)
        ws.start_soon(ws.send, "a")
        await anyio.sleep(0.01)
        with anyio.move_on_after(0.005):
            await ws.send("b")
        await anyio.sleep(0.1)
        server.on_send = lambda: callers.append(asyncio.current_task())
        await ws.send("c")
        assert callers == [asyncio.current_task()]
    assert server.messages == ["a", "c"]
