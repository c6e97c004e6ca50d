"""The calls of the application, and how they end when the connection ends."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests._helpers import end_abnormally_during
from tests.contract._bench import Log, about, block, closes, notified_by
from tests.faults._opened import opened
from wsnursery import LocalProtocolError, WebSocket, WebSocketDisconnected, hooks, testing
from wsnursery._engine.sender import Sender
from wsnursery._engine.websocket import connection_of
from wsnursery.testing import FailSend, StallSend

Call = Callable[[WebSocket], Awaitable[object]]

CALLS: dict[str, Call] = {
    "send": lambda ws: ws.send("x"),
    "flush": lambda ws: ws.flush(),
    "receive": lambda ws: ws.receive(),
}

asyncio_only = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


def calls(*more: tuple[str, Call]) -> pytest.MarkDecorator:
    """Parametrize over calls, by name."""
    every = {**CALLS, **dict(more)}
    return pytest.mark.parametrize("call", every.values(), ids=every)


async def send_nowait(ws: WebSocket) -> None:
    """Represent a call that waits."""
    ws.send_nowait("x")


async def end(ws: WebSocket) -> WebSocketDisconnected:
    """Wait for the end."""
    return await notified_by(lambda: read(ws))


async def read(ws: WebSocket) -> None:
    while True:
        await ws.receive()


# ------------------------------------------------------------------------------- the handshake


async def test_accept_waits_for_the_server() -> None:
    server = testing.Server()
    receive = server.receive

    async def slow() -> Mapping[str, Any]:
        await anyio.sleep(3)
        return await receive()

    server.receive = slow

    async def body(ws: WebSocket) -> None:
        assert ws.state == "connecting"
        await ws.accept()
        assert anyio.current_time() == 3

    assert (await block(server, body)).error is None


async def test_a_second_accept() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        ws.start_soon(ws.accept)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        with pytest.raises(LocalProtocolError, match="in progress: call it once"):
            await ws.accept()
        await anyio.sleep(1)
        with pytest.raises(LocalProtocolError, match="it is accepted already"):
            await ws.accept()

    assert (await block(server, body)).error is None


async def test_a_cancelled_accept_may_be_called_again() -> None:
    """It is withdrawn before the server has it, at every step."""
    for steps in range(8):
        server = testing.Server()

        async def body(ws: WebSocket, steps: int = steps) -> None:
            await anyio.wait_all_tasks_blocked()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ws.accept)
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
            await anyio.sleep(1)
            if ws.state == "requested":
                await ws.accept()
            assert ws.state == "open"

        assert (await block(server, body)).error is None


# contract: D7
async def test_a_waiting_accept_is_notified_of_an_abnormal_end() -> None:
    server = testing.Server(faults=[testing.FailReceive(1, OSError("mine"))])

    async def body(ws: WebSocket) -> None:
        exc = await notified_by(ws.accept)
        assert str(exc.__cause__) == "mine"
        await anyio.sleep(1)  # it is notified, and may unwind

    ended = await block(server, body)
    assert ended.error is None
    assert ended.at == about(1)


# contract: D7, D2
async def test_an_accept_that_is_cancelled_at_the_end_is_not_notified() -> None:
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        try:
            await anyio.wait_all_tasks_blocked()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ws.accept)
                    await anyio.lowlevel.checkpoint()
                    await anyio.lowlevel.checkpoint()
                    connection_of(ws).lifecycle.end_abnormally(None)
                    scope.cancel()
            await anyio.sleep_forever()
        finally:
            log.note("body")

    began = anyio.current_time()
    await block(server, body)
    assert log.moments["body"] - began < 1


async def test_an_accept_that_waits_is_cancelled() -> None:
    server = testing.Server()
    receive, go_on = server.receive, anyio.Event()

    async def late() -> Mapping[str, Any]:
        await go_on.wait()
        return await receive()

    server.receive = late

    async def body(ws: WebSocket) -> None:
        with anyio.move_on_after(1) as scope:
            await ws.accept()
        assert scope.cancelled_caught
        assert ws.state == "connecting"
        go_on.set()
        await ws.accept()

    assert (await block(server, body)).error is None


# contract: S2, S10
async def test_a_later_send_that_the_server_does_not_take_at_once() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(3, go_on)])
    times: list[float] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(3):
            await ws.send(str(number))
            times.append(anyio.current_time())

    assert (await block(server, body, (5, go_on.set))).error is None
    assert times == [about(0), about(5), about(5)]
    assert server.transcript.from_app == ["0", "1", "2"]


async def test_reject_after_the_end() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        server.peer.vanish()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(1)
        await notified_by(ws.reject)
        await notified_by(ws.reject)

    await block(server, body)
    assert closes(server) == []


async def test_reject_notifies_the_waiting_calls() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.reject(403)
        for call in (*CALLS.values(), WebSocket.accept, WebSocket.reject):
            with pytest.raises(anyio.ClosedResourceError, match="this task has closed"):
                await call(ws)
        await ws.close()

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == ["app deny 403"]


# --------------------------------------------------------------------------------- after the end


# contract: S7, R5
@calls(("send_nowait", send_nowait))
@pytest.mark.parametrize("broken", [False, True])
async def test_every_call_after_the_end_raises_the_same(call: Call, broken: bool) -> None:
    cause = OSError("mine")
    server = testing.Server(faults=[FailSend(2, cause)] if broken else [])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        if broken:
            ws.send_nowait("lost")
        else:
            server.peer.close(4001, "bye")
        first = await end(ws)
        again = await notified_by(lambda: call(ws))
        assert again is not first
        assert again.__cause__ is first.__cause__ is (cause if broken else None)
        assert (again.code, again.reason) == ((None, "") if broken else (4001, "bye"))
        assert again.undelivered == (1 if broken else 0)

    assert (await block(server, body)).error is None
    assert closes(server) == []


# contract: R5, R6
@pytest.mark.parametrize("broken", [False, True])
async def test_iterating_over_the_end(broken: bool) -> None:
    server = testing.Server(faults=[FailSend(2, OSError())] if broken else [])
    got: list[str | bytes] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(3):
            server.peer.send_nowait(str(number))
        await anyio.wait_all_tasks_blocked()
        if broken:
            await notified_by(lambda: ws.send("x"))
        else:
            server.peer.vanish()
        async for message in ws:
            got.append(message)  # noqa: PERF401 - the end may raise

    ended = await block(server, body)
    assert (ended.error is None) is not broken
    assert got == ([] if broken else ["0", "1", "2"])


# contract: S7
@calls(("send_nowait", send_nowait))
async def test_every_call_after_your_own_close(call: Call) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000)
        with pytest.raises(anyio.ClosedResourceError, match="this task has closed"):
            await call(ws)
        async for _ in ws:
            pytest.fail("nothing can come")
        await ws.close(4001)

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == ["app close 4000"]


# contract: S7, D4
@calls(("send_nowait", send_nowait))
async def test_every_call_after_the_close_of_another_task(call: Call) -> None:
    """A child that lets it escape has simply ended."""
    ran: list[str] = []

    async def child(ws: WebSocket) -> None:
        await anyio.sleep(1)
        ran.append("child")
        await call(ws)
        ran.append("not reached")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        await ws.close(4000)
        await anyio.sleep(2)

    ended = await block(testing.Server(answers_close=False), body)
    assert ended.error is None
    assert ran == ["child"]


# contract: S7
async def test_a_task_notified_of_the_close_of_another_task_may_unwind() -> None:
    server, log = testing.Server(answers_close=False), Log()

    async def child(ws: WebSocket) -> None:
        await anyio.sleep(1)
        with pytest.raises(anyio.ClosedResourceError, match="another task has closed"):
            await ws.send("x")
        await anyio.sleep(2)
        log.note("child")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        ws.start_soon(log.sleeper, "bystander")
        await ws.close()

    ended = await block(server, body, (2, server.peer.answer_close))
    assert ended.error is None
    assert log.moments == {"bystander": about(2), "child": about(3)}


# contract: S7, R5
async def test_your_own_close_wakes_the_reader_and_drops_unread_messages() -> None:
    """At once, and not only when the peer has answered."""
    server, log = testing.Server(answers_close=False), Log()

    async def reader(ws: WebSocket) -> None:
        async for _ in ws:
            pass
        log.note("reader")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(reader, ws)
        await anyio.sleep(1)
        server.peer.send_nowait("unread")
        server.peer.send_nowait("unread")
        await anyio.wait_all_tasks_blocked()
        await ws.close()
        with pytest.raises(anyio.ClosedResourceError):
            await ws.receive()

    ended = await block(server, body, (4, server.peer.answer_close))
    assert ended.error is None
    assert log.moments["reader"] < 2


# contract: R2, S9
async def test_your_own_close_makes_room_for_what_is_behind() -> None:
    """The disconnect is received although the server takes nothing."""
    server = testing.Server(receive_queue=100, faults=[StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("stuck")
        for _ in range(5):
            server.peer.send_nowait("x")
        server.peer.close(4001)
        await anyio.sleep(0.2)  # a raw send that takes longer makes room by itself
        assert server.peer.unread == 2
        await ws.close()
        assert anyio.current_time() == about(0.2)

    ended = await block(server, body, receive_buffer=1)
    assert ended.own.undelivered == 1


# contract: R1, D1
async def test_a_receive_that_was_cancelled_is_not_counted_against_the_next() -> None:
    """The next call is notified of the end, so its task may unwind."""
    server = testing.Server(faults=[testing.FailReceive(2, OSError())])
    receive = server.receive

    async def slow() -> Mapping[str, Any]:
        await anyio.sleep(2)
        return await receive()

    server.receive = slow

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with anyio.move_on_after(1):
            await ws.receive()
        await notified_by(ws.receive)
        await anyio.sleep(1)

    ended = await block(server, body)
    assert ended.error is None
    assert ended.at == about(2 + 2 + 1)


# contract: L3
@calls(
    ("send_nowait", send_nowait),
    ("accept", lambda ws: ws.accept()),
    ("reject", lambda ws: ws.reject()),
    ("close", lambda ws: ws.close()),
    ("iteration", anext),
)
async def test_every_call_after_the_block(call: Call) -> None:
    ws = opened(testing.Server())
    async with ws:
        await ws.accept()
    with pytest.raises(anyio.ClosedResourceError, match="has been left"):
        await call(ws)


@calls(("send_nowait", send_nowait))
async def test_a_call_before_accept_says_what_is_missing(call: Call) -> None:
    async def body(ws: WebSocket) -> None:
        for _ in range(2):
            with pytest.raises(LocalProtocolError, match=r"call `await ws\.accept\(\)` first"):
                await call(ws)
        await ws.accept()

    assert (await block(testing.Server(), body)).error is None


async def before_accept(ws: WebSocket) -> None:
    await anyio.wait_all_tasks_blocked()


async def after_accept(ws: WebSocket) -> None:
    """With messages to read, and an idle sender."""
    await ws.accept()
    await ws.send("first")
    await anyio.wait_all_tasks_blocked()


async def while_another_task_reads(ws: WebSocket) -> None:
    await after_accept(ws)
    for _ in range(30):
        await ws.receive()
    ws.start_soon(ws.receive)
    await anyio.wait_all_tasks_blocked()


async def after_the_end(ws: WebSocket) -> None:
    await ws.accept()
    await notified_by(lambda: ws.send("refused"))


async def after_the_own_close(ws: WebSocket) -> None:
    """And after the peer's answer to it."""
    await ws.accept()
    await ws.close()
    await anyio.wait_all_tasks_blocked()


MOMENTS = [
    before_accept,
    after_accept,
    while_another_task_reads,
    after_the_end,
    after_the_own_close,
]


def busy_server_for(moment: Call) -> testing.Server:
    faults = [FailSend(2, OSError())] if moment is after_the_end else []
    server = testing.Server(send_queue=100, receive_queue=100, faults=faults)
    for _ in range(30):
        server.peer.send_nowait("x")
    return server


# contract: S8
@pytest.mark.parametrize("call", [WebSocket.accept, WebSocket.reject])
async def test_a_loop_of_handshakes_after_the_end_lets_others_run(call: Call) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
            turns += 1

    async def body(ws: WebSocket) -> None:
        await notified_by(ws.accept)
        async with anyio.create_task_group() as others:
            others.start_soon(other)
            for _ in range(20):
                await notified_by(lambda: call(ws))
            assert turns >= 15

    server = testing.Server(faults=[testing.FailReceive(1, OSError())])
    assert (await block(server, body)).error is None


# -------------------------------------------------------------------------------- waiting calls


# contract: D1
@calls()
async def test_waiting_calls_raise_in_place(call: Call) -> None:
    server = testing.Server(faults=[StallSend(2)])
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("in flight")
        exc = await notified_by(lambda: call(ws))
        log.note("notified")
        assert isinstance(exc.__cause__, TimeoutError)

    ended = await block(server, body, send_timeout=3)
    assert ended.error is None
    assert log.moments == {"notified": 3}


# contract: S3
async def test_a_cancelled_send_is_withdrawn() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("in flight")
        with anyio.move_on_after(1):
            await ws.send("withdrawn")
        with anyio.move_on_after(1):
            await ws.flush()
        ws.send_nowait("kept")
        assert ws.statistics().tasks_waiting_send == 0
        go_on.set()

    assert (await block(server, body)).error is None
    assert server.transcript.from_app == ["in flight", "kept"]


# contract: S3
async def test_a_cancelled_send_that_is_in_flight_goes_out() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with anyio.move_on_after(1):
            await ws.send("whole")
        go_on.set()

    assert (await block(server, body)).error is None
    assert server.transcript.from_app == ["whole"]


# contract: S2
async def test_a_refused_message_is_its_callers() -> None:
    error = ValueError("mine")
    server = testing.Server(faults=[FailSend(2, error)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(ValueError, match="mine"):
            await ws.send("x")
        await ws.send("y")

    assert (await block(server, body)).error is None
    assert server.transcript.from_app == ["y"]


# contract: D1
async def test_a_receive_that_is_cancelled_at_an_abnormal_end_has_notified_no_task() -> None:
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        async def child(ready: anyio.Event, scope: anyio.CancelScope) -> None:
            try:
                with scope:
                    ready.set()
                    await ws.receive()
            finally:
                log.note("child")

        await end_abnormally_during(ws, server, child)

    ended = await block(server, body)
    assert ended.own.code is None
    assert "child" in log.moments


# contract: R4
async def test_one_reader_at_a_time() -> None:
    server = testing.Server()
    got: list[str | bytes] = []

    async def reader(ws: WebSocket) -> None:
        got.append(await ws.receive())

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(reader, ws)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(anyio.BusyResourceError):
            await ws.receive()
        server.peer.send_nowait("x")

    assert (await block(server, body)).error is None
    assert got == ["x"]


# contract: S5
async def test_send_nowait_on_a_full_buffer() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("1")
        ws.send_nowait("2")
        with pytest.raises(anyio.WouldBlock, match="the send buffer is full"):
            ws.send_nowait("3")
        await ws.flush()
        ws.send_nowait("4")

    assert (await block(server, body, send_buffer=2)).error is None
    assert server.transcript.from_app == ["1", "2", "4"]


# ------------------------------------------------------------------------------------ the close


# contract: C2
@pytest.mark.parametrize("timeout", [0, 2])
async def test_a_close_that_cannot_get_through(timeout: float) -> None:
    server = testing.Server(faults=[StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("x")
        await anyio.sleep(1)
        await ws.close(4000)
        assert anyio.current_time() == about(1 + timeout)
        assert ws.close_code is None

    ended = await block(server, body, close_timeout=timeout)
    assert ended.own.undelivered == 1
    assert str(ended.own.__cause__) == f"could not flush and close within {timeout} s"


# contract: C1
async def test_two_closes_at_once() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(ws.close, 4001)
        await ws.close(4000)

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == ["app close 4000"]


# contract: C2
async def test_a_close_after_the_end_is_quiet() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.vanish()
        await end(ws)
        await ws.close(4000)

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == []


# contract: C1
async def test_the_peer_leaves_while_the_close_is_with_the_server() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000)

    ended = await block(server, body, (1, server.peer.vanish), (2, go_on.set))
    assert ended.error is None
    assert ended.at == about(2)


# contract: X5
async def test_cancelled_from_outside_it_drops_what_is_queued_and_closes() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(2, go_on)], answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(5):
            ws.send_nowait(str(number))
        await anyio.sleep_forever()

    async def later() -> None:
        await anyio.sleep(2)
        go_on.set()

    async with anyio.create_task_group() as outside:
        outside.start_soon(later)
        with anyio.CancelScope() as scope:
            await block(server, body, (1, scope.cancel))
    assert scope.cancelled_caught
    assert server.transcript.from_app == ["0"]
    assert closes(server) == ["app close 1001"]


# contract: X5
@asyncio_only
async def test_a_second_native_cancellation_ends_it_without_a_close() -> None:
    server = testing.Server(faults=[StallSend(2)])

    async def run() -> None:
        async with opened(server) as ws:
            await ws.accept()

    task = asyncio.create_task(run())
    for _ in range(2):
        await anyio.sleep(1)
        task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert anyio.current_time() == about(2)
    assert closes(server) == []


# contract: C4
async def test_a_peer_that_does_not_answer_the_close() -> None:
    server = testing.Server(answers_close=False)
    ended = await block(server, WebSocket.accept, close_timeout=3)
    assert ended.error is None
    assert ended.at == about(3)


# contract: C4, C5
async def test_the_time_for_the_answer_begins_with_the_close() -> None:
    """A block that is left later does not wait longer, whatever else the timer checks."""
    server = testing.Server(answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close()
        await anyio.sleep(2)

    ended = await block(server, body, close_timeout=5, idle_timeout=60)
    assert ended.error is None
    assert ended.at == about(5)


# contract: X5, L3
async def test_cancelled_from_outside_no_task_waits_for_the_answer() -> None:
    server, emitted = testing.Server(answers_close=False), list[hooks.Event]()
    with anyio.CancelScope() as scope:
        async with opened(server, hooks=[emitted.append]) as ws:
            await ws.accept()
            scope.cancel()
            await anyio.sleep_forever()
    assert (ws.state, ws.close_code) == ("closed", 1001)
    [end] = [event for event in emitted if isinstance(event, hooks.Disconnected)]
    assert not end.broken


# contract: X5
@asyncio_only
async def test_cancelled_natively_while_it_leaves_it_has_ended_as_broken() -> None:
    server, emitted = testing.Server(faults=[StallSend(2)]), list[hooks.Event]()
    ws = opened(server, hooks=[emitted.append])

    async def run() -> None:
        async with ws:
            await ws.accept()
            await anyio.sleep_forever()

    task = asyncio.create_task(run())
    for _ in range(2):
        await anyio.sleep(1)
        task.cancel()
    await asyncio.wait([task])
    assert (ws.state, ws.close_code) == ("closed", None)
    [end] = [event for event in emitted if isinstance(event, hooks.Disconnected)]
    assert (end.broken, end.cause) == (True, None)


# contract: D5
async def test_the_close_timeout_ends_a_task_that_continues() -> None:
    """After your own close, the connection has `close_timeout` seconds to end."""
    server, log = testing.Server(answers_close=False), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper, "child")
        await ws.close()
        await anyio.sleep(4)
        log.note("body")

    ended = await block(server, body, close_timeout=3, grace_period=10)
    assert ended.error is None
    assert log.moments == {"child": about(3), "body": about(4)}


# contract: C1
@pytest.mark.parametrize("first", ["peer", "limit"])
async def test_a_limit_and_the_peers_close_at_once(first: str) -> None:
    """The first end counts, whichever it is; at most one close is sent."""
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        if first == "peer":
            server.peer.close(4001)
        else:
            server.peer.send_nowait("too big")
            server.peer.close(4001)
        await ws.receive()

    ended = await block(server, body, max_message_size=3)
    assert ended.own.code == (1009 if first == "limit" else 4001)
    assert len(closes(server)) <= 1


# contract: D5
async def test_a_limit_drops_what_is_queued() -> None:
    """A message in flight may still be taken, and does not count as delivered."""
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(3):
            ws.send_nowait(str(number))
        await anyio.wait_all_tasks_blocked()
        server.peer.send_nowait("too big")
        await ws.receive()

    ended = await block(server, body, (1, go_on.set), max_message_size=3)
    assert (ended.own.code, ended.own.undelivered) == (1009, 3)
    assert server.transcript.from_app == ["0"]


# contract: D6
async def test_a_limit_before_accept_denies() -> None:
    server = testing.Server(faults=[testing.Garbage(2, {"type": "websocket.receive", "text": "x"})])
    ended = await block(server, lambda ws: anyio.sleep_forever())
    assert type(ended.error).__name__ == "RemoteProtocolError"
    assert closes(server) == ["app deny 403"]


# contract: L2
async def test_the_facts_stay_and_the_rest_is_let_go() -> None:
    server = testing.Server()
    ws = opened(server)
    with pytest.raises(WebSocketDisconnected):
        async with ws:
            await ws.accept()
            server.peer.send_nowait("unread")
            server.peer.close(4001, "bye")
            await anyio.sleep_forever()
    assert (ws.close_code, ws.close_reason, ws.state) == (4001, "bye", "closed")
    assert ws.statistics().messages_received == 1
    assert ws.statistics().receive_buffer_used == 0


async def test_a_name_of_its_own() -> None:
    async with opened(testing.Server()) as first, opened(testing.Server()) as second:
        names = [connection_of(ws).id for ws in (first, first, second)]
    assert names[0] == names[1] != names[2]


async def test_an_accept_that_was_not_begun_is_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender had no turn to check; on trio the order is random."""
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        with monkeypatch.context() as busy, anyio.move_on_after(1):
            busy.setattr(Sender, "wake", lambda sender: None)
            await ws.accept()
        assert ws.state == "requested"
        await ws.accept()

    assert (await block(server, body)).error is None
    assert server.transcript.lines.count("app accept") == 1


# contract: D7
@pytest.mark.parametrize("moment", ["before", "during", "connecting"])
async def test_the_peer_leaves_before_accept_is_done(moment: str) -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(1, go_on)] if moment == "during" else [])
    if moment == "connecting":
        server.receive = anyio.sleep_forever  # type: ignore[assignment]

    async def body(ws: WebSocket) -> None:
        if moment == "before":
            server.peer.vanish()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
        exc = await notified_by(ws.accept)
        assert exc.code == (None if moment == "connecting" else server.personality.loss_code)
        again = await notified_by(ws.accept)
        assert again is not exc
        raise again

    if moment == "connecting":
        with anyio.fail_after(1), pytest.raises(TimeoutError):
            async with opened(server) as ws:
                with anyio.CancelScope(shield=True):
                    ws.start_soon(anyio.lowlevel.checkpoint)
                    await anyio.sleep(0.5)
                    connection_of(ws).lifecycle.end_abnormally(None)
                    assert (await notified_by(ws.accept)).code is None
                    raise TimeoutError
        return
    ended = await block(server, body, (1, server.peer.vanish))
    assert ended.own.code == server.personality.loss_code


# contract: D7, D2
@asyncio_only
async def test_an_accept_that_waits_is_cancelled_natively_in_the_tick_of_the_end() -> None:
    """So it has notified no task, and its task has no grace period."""
    server, log = testing.Server(), Log()
    server.receive = anyio.sleep_forever  # type: ignore[assignment]
    tasks: list[asyncio.Task[object] | None] = []

    async def child(ws: WebSocket) -> None:
        tasks.append(asyncio.current_task())
        try:
            await ws.accept()
        finally:
            try:
                await anyio.sleep(3)
            finally:
                log.note("child")

    async def body(ws: WebSocket) -> None:
        ws.start_soon(child, ws)
        await anyio.wait_all_tasks_blocked()
        connection_of(ws).lifecycle.end_abnormally(None)
        assert tasks[0] is not None
        tasks[0].cancel()
        await anyio.sleep_forever()

    began = anyio.current_time()
    ended = await block(server, body)
    assert ended.own.code is None
    assert log.moments["child"] - began < 1


# contract: R6
async def test_iterating_after_your_own_close_whose_connection_breaks() -> None:
    server = testing.Server(answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close()
        connection_of(ws).lifecycle.end_abnormally(OSError())
        async for _ in ws:
            pytest.fail("nothing can come")

    assert (await block(server, body)).error is None


# contract: S2, S3
@asyncio_only
async def test_an_error_whose_caller_was_cancelled_leaves_through_the_block() -> None:
    """The native cancellation and the server's refusal come in the same turn of the loop."""
    go_on = anyio.Event()
    error = ValueError("mine")
    server = testing.Server(faults=[StallSend(2, go_on), FailSend(2, error)])
    tasks: list[asyncio.Task[object]] = []

    async def sender(ws: WebSocket) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        await ws.send("x")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(sender, ws)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
        service = connection_of(ws).outgoing.sender
        while (sent := service.in_flight) and not sent.done:  # noqa: ASYNC110 - in that turn
            await asyncio.sleep(0)
        tasks[0].cancel()
        await anyio.sleep_forever()

    ended = await block(server, body)
    assert ended.error is error


# contract: D3
@asyncio_only
async def test_a_send_that_is_cancelled_natively_at_the_end_has_notified_no_task() -> None:
    server, log = testing.Server(faults=[StallSend(2)]), Log()
    tasks: list[asyncio.Task[object]] = []

    async def child(ws: WebSocket) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        try:
            await ws.send("x")
        finally:
            try:
                await anyio.sleep(3)
            finally:
                log.note("child")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        await anyio.wait_all_tasks_blocked()
        connection_of(ws).lifecycle.end_abnormally(OSError())
        tasks[0].cancel()
        await anyio.sleep_forever()

    began = anyio.current_time()
    ended = await block(server, body)
    assert ended.own.undelivered == 1
    assert log.moments["child"] - began < 1


# contract: C1
async def test_a_second_limit_changes_nothing() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        connection_of(ws).lifecycle.close_for_a_limit(1009, "", None)
        connection_of(ws).lifecycle.close_for_a_limit(1001, "", None)
        await ws.receive()

    ended = await block(server, body)
    assert ended.own.code == 1009
    assert closes(server) == ["app close 1009"]
