"""The receiver: what it receives, how much it holds, and when it stops."""

import logging
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.contract._bench import about, block, closes
from tests.faults._opened import opened
from wsnursery import RemoteProtocolError, WebSocket, WebSocketDisconnected, hooks, testing
from wsnursery._engine.aftercare import SILENCES
from wsnursery.testing import FailReceive, Garbage, StallSend

MESSAGE = {"type": "websocket.receive", "text": "x"}
END = {"type": "websocket.disconnect"}

HYPERCORN = {"asgi": {"version": "3.0", "spec_version": "2.3"}}
"""The only servers that are drained."""


@pytest.fixture
def hypercorn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if Hypercorn had been imported."""
    monkeypatch.setitem(sys.modules, "hypercorn", ModuleType("hypercorn"))


async def hold(ws: WebSocket) -> None:
    await ws.accept()
    await anyio.sleep_forever()


async def read(ws: WebSocket) -> list[str | bytes]:
    await ws.accept()
    return [message async for message in ws]


@asynccontextmanager
async def held(server: testing.Server, **options: Any) -> AsyncIterator[WebSocket]:
    """An accepted connection, left by its peer at the end."""
    async with opened(server, **options) as ws:
        await ws.accept()
        yield ws


async def sent(server: testing.Server, count: int) -> None:
    """The peer sends this many messages, and as many as possible are taken from the server."""
    for number in range(count):
        server.peer.send_nowait(str(number))
    await anyio.wait_all_tasks_blocked()


# contract: R2
@pytest.mark.parametrize("limit", [1, 3])
async def test_it_holds_no_more_than_there_is_room_for_and_one_in_hand(limit: int) -> None:
    server = testing.Server(receive_queue=100)
    async with held(server, receive_buffer=limit) as ws:
        await sent(server, 10)
        assert server.peer.unread == 10 - limit - 1
        assert ws.statistics().receive_buffer_used == limit
        assert await ws.receive() == "0"
        await anyio.wait_all_tasks_blocked()
        assert server.peer.unread == 10 - limit - 2


# contract: R2
async def test_one_switch_of_tasks_fills_several_places() -> None:
    server = testing.Server(receive_queue=100)
    async with held(server, receive_buffer=8) as ws:
        await sent(server, 20)
        unread = []
        for _ in range(6):
            await ws.receive()
            await anyio.wait_all_tasks_blocked()
            unread.append(server.peer.unread)
        assert unread == [11, 9, 9, 7, 7, 5]


# contract: R2
async def test_a_disconnect_behind_a_full_inbox_waits_for_one_read_and_no_more() -> None:
    server = testing.Server(receive_queue=100)
    async with opened(server, receive_buffer=8) as ws:
        await ws.accept()
        await sent(server, 9)
        server.peer.close(4001)
        await anyio.sleep(10)
        assert ws.state == "open"
        await ws.receive()
        await anyio.sleep(0.006)
        assert ws.close_code == 4001
        assert len([message async for message in ws]) == 8


# contract: R2
async def test_a_slow_reader_frees_room_for_the_messages_that_it_has_read() -> None:
    go_on = anyio.Event()
    server = testing.Server(receive_queue=100, faults=[StallSend(2, go_on)])
    async with held(server, receive_buffer=16) as ws:
        # Give the timer another alarm, because its end would make room, too.
        ws.send_nowait("x")
        await anyio.wait_all_tasks_blocked()
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        await sent(server, 40)
        assert server.peer.unread == 23
        await ws.receive()
        await anyio.sleep(0.004)
        await ws.receive()
        assert server.peer.unread == 23
        await anyio.sleep(0.002)  # counted from the first message
        assert server.peer.unread == 21
        for _ in range(3):
            await ws.receive()
            await anyio.sleep(0.006)
        assert server.peer.unread == 18


# contract: R2
async def test_bytes_count_too() -> None:
    server = testing.Server(receive_queue=100)
    async with held(server, receive_buffer_bytes=3) as ws:
        await sent(server, 10)
        assert ws.statistics().receive_buffer_used_bytes == 3


# contract: R2, S9
async def test_there_is_more_room_while_a_raw_send_is_under_way() -> None:
    go_on = anyio.Event()
    server = testing.Server(receive_queue=100, faults=[StallSend(2, go_on)])
    async with held(server, receive_buffer=3) as ws:
        await sent(server, 10)
        assert ws.statistics().receive_buffer_used == 3
        ws.send_nowait("x")
        await anyio.wait_all_tasks_blocked()
        assert ws.statistics().receive_buffer_used == 6
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert [await ws.receive() for _ in range(10)] == [str(number) for number in range(10)]


# contract: R2, S9
@pytest.mark.parametrize(("seconds", "used"), [(0.2, 6), (0.3, 30), (20, 30)])
async def test_a_raw_send_that_does_not_come_back_gets_more_room(seconds: float, used: int) -> None:
    go_on = anyio.Event()
    server = testing.Server(receive_queue=100, faults=[StallSend(2, go_on)])
    async with held(server, receive_buffer=3, receive_buffer_bytes=10) as ws:
        for _ in range(40):
            server.peer.send_nowait("x")
        await anyio.wait_all_tasks_blocked()
        ws.send_nowait("x")
        await anyio.sleep(seconds)
        assert ws.statistics().receive_buffer_used == used
        go_on.set()
        await anyio.sleep(1)
        assert ws.statistics().receive_buffer_used == used
        assert [await ws.receive() for _ in range(40)] == ["x"] * 40


# contract: S9
async def test_the_second_raw_send_that_does_not_come_back_gets_more_room_too() -> None:
    go_on, once_more = anyio.Event(), anyio.Event()
    server = testing.Server(
        receive_queue=100, faults=[StallSend(2, go_on), StallSend(3, once_more)]
    )
    async with held(server, receive_buffer=3) as ws:
        await sent(server, 40)
        ws.send_nowait("1")
        await anyio.wait_all_tasks_blocked()
        go_on.set()
        await anyio.wait_all_tasks_blocked()
        assert ws.statistics().receive_buffer_used == 6
        ws.send_nowait("2")
        await anyio.sleep(0.2)
        assert ws.statistics().receive_buffer_used == 6
        await anyio.sleep(0.1)
        assert ws.statistics().receive_buffer_used == 40
        once_more.set()


# contract: S9
async def test_a_raw_send_that_waits_until_all_is_delivered_comes_back() -> None:
    """Hypercorn's, on asyncio, when the peer has reset."""
    server = testing.Server(receive_queue=10_000)
    send = server.send

    async def waiting(event: Mapping[str, Any]) -> None:
        if event["type"] == "websocket.send":
            while server.peer.unread:  # noqa: ASYNC110 - another task changes it
                await anyio.sleep(0.01)
        await send(event)

    server.send = waiting
    async with opened(server, receive_buffer=64) as ws:
        await ws.accept()
        await sent(server, 9_000)
        with anyio.fail_after(1):
            await ws.send("x")
        server.peer.close()
        assert [message async for message in ws] == [str(number) for number in range(9_000)]


# contract: R3
async def test_a_full_inbox_without_a_reader_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = testing.Server(receive_queue=100)
    async with held(server, receive_buffer=1) as ws:
        await sent(server, 5)
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert 'Options(incoming="discard")' in record.getMessage()
        for _ in range(3):
            await ws.receive()
            await anyio.wait_all_tasks_blocked()
        assert len(caplog.records) == 1


# contract: R3
async def test_a_slow_reader_causes_no_warning_about_unread_messages(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = testing.Server(receive_queue=100)
    async with held(server, receive_buffer=1) as ws:
        await sent(server, 1)
        await ws.receive()
        await sent(server, 5)
        assert caplog.records == []


# contract: R3
async def test_discard() -> None:
    server = testing.Server(receive_queue=1000)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await sent(server, 500)
        assert server.peer.unread == 0
        assert ws.statistics().messages_received == 500
        assert ws.statistics().bytes_received == 10 + 90 * 2 + 400 * 3
        assert ws.statistics().receive_buffer_used == 0
        server.peer.close(4001)
        await anyio.sleep_forever()

    ended = await block(server, body, incoming="discard")
    assert ended.own.code == 4001


async def test_what_comes_after_your_own_close_is_dropped() -> None:
    server = testing.Server(answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close()
        await sent(server, 3)
        assert ws.statistics().messages_received == 0
        server.peer.answer_close()

    ended = await block(server, body)
    assert ended.error is None


async def test_the_message_in_hand_is_dropped_at_your_own_close() -> None:
    server = testing.Server(answers_close=False, receive_queue=100)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await sent(server, 5)
        await ws.close()
        await anyio.wait_all_tasks_blocked()
        assert server.peer.unread == 0
        server.peer.answer_close()

    ended = await block(server, body, receive_buffer=1)
    assert ended.error is None


# contract: D1, R7
async def test_the_message_in_hand_is_dropped_at_an_abnormal_end() -> None:
    """Later events are taken from the server, too."""
    server = testing.Server(receive_queue=100, faults=[testing.FailSend(2, OSError())])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await sent(server, 5)
        await ws.send("x")

    ended = await block(server, body, receive_buffer=1)
    assert isinstance(ended.own.__cause__, OSError)
    assert ended.at < 1
    assert server.peer.unread == 0


# contract: C4
async def test_the_answer_to_your_own_close_is_waited_for_and_no_longer() -> None:
    server = testing.Server(answers_close=False)
    ended = await block(server, WebSocket.accept, (2, server.peer.answer_close))
    assert ended.error is None
    assert ended.at == about(2)


# contract: S7, D3
async def test_nothing_is_begun_when_the_disconnect_is_there() -> None:
    """A raw send in flight may finish, but the next message stays."""
    server, begun = testing.Server(), list[str]()
    raw_send, go_on = server.send, anyio.Event()

    async def send(event: Any) -> None:
        if event["type"] == "websocket.send":
            begun.append(event["text"])
            await go_on.wait()
            for _ in range(2):  # by now the receiver has got the event
                await anyio.lowlevel.checkpoint()
        await raw_send(event)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("first")
        ws.send_nowait("second")
        await anyio.sleep(1)
        server.peer.close()
        go_on.set()
        await anyio.sleep_forever()

    server.send = send
    ended = await block(server, body)
    assert begun == ["first"]
    assert ended.own.undelivered == 1


# contract: C1
async def test_a_close_that_crosses_the_disconnect_ends_when_the_server_has_taken_it() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000)
        assert anyio.current_time() == 2

    ended = await block(server, body, (1, server.peer.close), (2, go_on.set))
    assert ended.error is None
    assert ended.at == about(2)


# contract: T4
@pytest.mark.parametrize("message", ["xxxx", b"xxxx", "éé"])
async def test_a_message_that_is_too_big(message: str | bytes) -> None:
    server = testing.Server()
    got: list[str | bytes] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("abc")
        server.peer.send_nowait(message)
        while True:
            got.append(await ws.receive())

    ended = await block(server, body, max_message_size=3)
    assert got == ["abc"]
    assert ended.own.code == 1009
    assert closes(server) == ["app close 1009 message too big"]


# contract: D1
async def test_strict_takes_an_oserror_of_receive_for_the_end() -> None:
    error = ConnectionResetError()
    ended = await block(testing.Server(faults=[FailReceive(2, error)]), hold, strict=True)
    assert ended.own.__cause__ is error


@pytest.mark.parametrize(
    "event",
    [{"type": "websocket.receive"}, {"type": "websocket.connect"}, {"no": "type"}],
    ids=repr,
)
async def test_a_server_that_breaks_the_protocol(event: dict[str, Any]) -> None:
    server = testing.Server(faults=[Garbage(2, event)])

    async def body(ws: WebSocket) -> None:
        await anyio.wait_all_tasks_blocked()
        await anyio.sleep_forever()

    ended = await block(server, body)
    assert isinstance(ended.error, RemoteProtocolError)
    assert len(closes(server)) == 1


async def test_a_message_before_the_handshake() -> None:
    server = testing.Server(faults=[Garbage(1, MESSAGE)])
    ended = await block(server, hold)
    assert isinstance(ended.error, RemoteProtocolError)


# contract: D9
async def test_what_a_raw_send_raises_just_before_the_disconnect_is_the_cause() -> None:
    error = OSError("mine")
    server = testing.Server(faults=[testing.FailSend(2, error, vanish=True)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await sent(server, 1)
        with pytest.raises(WebSocketDisconnected) as caught:
            await ws.send("x")
        assert caught.value.__cause__ is error
        assert await ws.receive() == "0"  # it is still a clean end
        await ws.receive()

    ended = await block(server, body)
    assert ended.own.__cause__ is error


# contract: D8
async def test_a_raw_send_that_raises_when_the_disconnect_comes_is_the_cause() -> None:
    """In whichever order the event loop runs the two."""
    go_on = anyio.Event()
    error = OSError("mine")
    server = testing.Server(faults=[StallSend(2, go_on), testing.FailSend(2, error)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    def both() -> None:
        server.peer.vanish()
        go_on.set()

    ended = await block(server, body, (1, both))
    assert ended.own.__cause__ is error
    assert ended.own.undelivered == 1


class Idle:
    """A peer that sends at these moments."""

    def __init__(self, *moments: float, **server: Any) -> None:
        self.server = testing.Server(receive_queue=100, **server)
        self.later = [(moment, lambda: self.server.peer.send_nowait("x")) for moment in moments]


@pytest.mark.parametrize(
    ("moments", "end"), [((), 10), ((1,), 11), ((9, 18, 27), 37), ((1, 2, 3, 4), 14)]
)
async def test_a_peer_that_is_idle(moments: tuple[float, ...], end: float) -> None:
    # contract: T3
    idle = Idle(*moments)
    ended = await block(idle.server, hold, *idle.later, idle_timeout=10)
    assert ended.own.code == 1001
    assert str(ended.own.__cause__) == "the peer sent no message within 10 s"
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert closes(idle.server) == ["app close 1001 idle timeout"]
    # A body that never read, with something unread, keeps the grace period.
    assert ended.at == about(end + (5 if moments else 0))


async def test_a_peer_whose_message_waits_for_room_is_not_idle() -> None:
    idle = Idle(1, 2, 3)
    got: list[str | bytes] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep(100)
        async for message in ws:
            got.append(message)  # noqa: PERF401

    ended = await block(idle.server, body, *idle.later, idle_timeout=10, receive_buffer=1)
    assert got == ["x", "x", "x"]
    assert ended.error is None
    assert ended.at == about(110)


async def test_the_idle_time_begins_with_the_accept() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await anyio.sleep(100)
        await ws.accept()
        await ws.receive()

    ended = await block(server, body, idle_timeout=10)
    assert ended.own.code == 1001
    assert ended.at == about(110)


async def test_no_peer_is_idle_after_your_own_close() -> None:
    server = testing.Server(answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep(1)
        await ws.close(4000)

    ended = await block(server, body, idle_timeout=2, close_timeout=5)
    assert ended.error is None
    assert closes(server) == ["app close 4000"]


# contract: R7
class Flood:
    """A server that delivers the disconnect, and more events after it."""

    def __init__(self, after: list[Any], every: float = 0) -> None:
        self.events = [
            {"type": "websocket.connect"},
            {"type": "websocket.disconnect", "code": 1000},
            *after,
        ]
        self.taken = 0
        self.every = every

    async def receive(self) -> Mapping[str, Any]:
        if self.taken >= len(self.events):
            await anyio.sleep_forever()
        self.taken += 1
        if self.taken > 2:
            await anyio.sleep(self.every)
        event = self.events[self.taken - 1]
        if isinstance(event, Exception):
            raise event
        assert isinstance(event, dict)
        return event

    async def drained(self) -> float:
        """Leave, and return the time."""
        server = testing.Server(scope=HYPERCORN)
        server.receive = self.receive
        async with opened(server) as ws:
            with pytest.raises(WebSocketDisconnected):
                await ws.accept()
        return anyio.current_time()


class BusyMachine(Flood):
    """The server runs, and puts its next event, only just after a wait for it is over."""

    async def receive(self) -> Mapping[str, Any]:
        if self.taken >= 2:
            ready = self.ready.setdefault(self.taken, anyio.current_time() + 0.0115)
            await anyio.sleep_until(ready)
        return await super().receive()

    def __init__(self, after: list[Any]) -> None:
        super().__init__(after)
        self.ready: dict[int, float] = {}


# contract: R7
async def test_a_server_that_must_not_be_drained() -> None:
    server = testing.Server(personality=testing.GRANIAN)
    ended = await block(server, read, (1, server.peer.close))
    assert ended.error is None
    assert ended.at == 1


# contract: C4
async def test_it_is_drained_until_it_is_quiet_when_cancelled_from_outside() -> None:
    """The answer to the close is not awaited, but the server's events are still taken."""
    server = testing.Server(answers_close=False, receive_queue=100)
    with anyio.CancelScope() as scope:
        async with opened(server, receive_buffer=2) as ws:
            await ws.accept()
            await sent(server, 50)
            scope.cancel()
            await anyio.sleep_forever()
    assert server.peer.unread == 0
    assert closes(server) == ["app close 1001"]


async def test_hooks_receive_the_messages_of_the_peer() -> None:
    server, emitted = testing.Server(), list[hooks.Event]()
    async with held(server, incoming="discard", hooks=[emitted.append]):
        server.peer.send_nowait("été")
        await anyio.wait_all_tasks_blocked()
    received = [event for event in emitted if isinstance(event, hooks.MessageReceived)]
    assert [(event.message, event.size) for event in received] == [("été", 5)]


@pytest.mark.usefixtures("hypercorn")
# contract: R7
@pytest.mark.parametrize(
    ("after", "every", "taken", "at"),
    [
        ([], 0, 0, 0.01),
        ([MESSAGE] * 5, 0, 5, 0.01),
        ([MESSAGE] * 20_000, 0, 11_000, 0),
        ([MESSAGE] * 20_000, 0.009, 3333, 30),
        ([MESSAGE, END, MESSAGE], 0, 2, 0),
        ([MESSAGE, OSError(), MESSAGE], 0, 2, 0),
    ],
    ids=["silent", "some", "many", "slow", "repeated", "raises"],
)
async def test_draining_is_bounded(after: list[Any], every: float, taken: int, at: float) -> None:
    flood = Flood(after, every)
    left_at = await flood.drained()
    assert flood.taken - 2 == pytest.approx(taken, abs=1)
    assert left_at == pytest.approx(at, abs=0.02)


@pytest.mark.usefixtures("hypercorn")
# contract: R7, X5
async def test_draining_for_longer_than_the_close_may_take_can_be_cancelled() -> None:
    with anyio.move_on_after(7) as limit:
        await Flood([MESSAGE] * 20_000, 0.009).drained()
    assert limit.cancelled_caught
    assert anyio.current_time() == about(7)


@pytest.mark.usefixtures("hypercorn")
async def test_what_receive_raises_after_the_end_is_for_the_debug_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "wsnursery"):
        await Flood([OSError("late")]).drained()
    assert "receive() after the end raised OSError('late')" in caplog.text


@pytest.mark.usefixtures("hypercorn")
# contract: R7
async def test_a_server_that_is_slow_to_get_its_turn() -> None:
    busy = BusyMachine([MESSAGE] * 5)
    await busy.drained()
    assert busy.taken == 7


@pytest.mark.usefixtures("hypercorn")
# contract: R7
async def test_it_is_drained_whatever_else_ends_meanwhile() -> None:
    go_on, taken = anyio.Event(), 0
    server = testing.Server(faults=[StallSend(2, go_on, shielded=True)], scope=HYPERCORN)
    raw_receive, gone = server.receive, False

    async def receive() -> Mapping[str, Any]:
        nonlocal gone, taken
        if not gone:
            event = await raw_receive()
            gone = event["type"] == "websocket.disconnect"
            return event
        await anyio.sleep(0.005 if taken < 10 else 3600)
        taken += 1
        return MESSAGE

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    server.receive = receive
    ended = await block(server, body, (1, server.peer.vanish), (1.012, go_on.set))
    assert ended.own.undelivered == 1
    assert taken == 10


@pytest.mark.usefixtures("hypercorn")
# contract: C4, R7
async def test_it_is_drained_when_the_peer_leaves_after_a_cancellation_from_outside() -> None:
    flood, server = Flood([MESSAGE] * 10, 0.005), testing.Server(scope=HYPERCORN)
    server.receive = flood.receive
    with anyio.CancelScope() as scope:
        async with opened(server):
            scope.cancel()
            await anyio.sleep_forever()
    assert flood.taken == 12


@pytest.mark.usefixtures("hypercorn")
# contract: C4, R7
@pytest.mark.parametrize("every", [0.005, 0.0115])
async def test_it_is_quiet_when_nothing_has_come_for_a_moment(every: float) -> None:
    server = testing.Server(answers_close=False, receive_queue=100, scope=HYPERCORN)

    async def bring() -> None:
        for _ in range(10):
            await anyio.sleep(every)
            server.peer.send_nowait("x")

    async with anyio.create_task_group() as outside:
        with anyio.CancelScope() as scope:
            async with opened(server) as ws:
                await ws.accept()
                outside.start_soon(bring)
                scope.cancel()
                await anyio.sleep_forever()
        assert anyio.current_time() == pytest.approx(10 * every + sum(SILENCES))
    assert ws.statistics().messages_received == 0
    assert server.peer.unread == 0
