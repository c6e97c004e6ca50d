"""Entering and leaving: what is sent at the end, how long that takes, and what leaves the block."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType

import anyio
import anyio.lowlevel
import pytest

from tests.asgi._sockets import TRIO, Socket, send_over, tcp_server
from tests.contract._bench import Log, about, block, cancelling, closes
from tests.faults._opened import opened
from wsnursery import WebSocket, WebSocketDisconnected, hooks, testing
from wsnursery._engine.receiver import Receiver
from wsnursery._engine.user_task import enclosing_tasks
from wsnursery.asgi._extension import EXTENSION, ServerExtension
from wsnursery.testing import FailSend, StallSend

asyncio_only = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


async def hold(ws: WebSocket) -> None:
    await ws.accept()
    await anyio.sleep_forever()


def failing(error: BaseException) -> Callable[[WebSocket], Awaitable[None]]:
    async def body(ws: WebSocket) -> None:
        await ws.accept()
        raise error

    return body


# contract: L6
async def test_entering_is_no_checkpoint() -> None:
    server = testing.Server()
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with opened(server):
            scope.shield = True
            entered = True
            await anyio.sleep(1)
    assert entered
    assert server.transcript.violations == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (WebSocket.accept, "app close 1000"),
        (failing(ValueError()), "app close 1011"),
        (lambda ws: anyio.sleep(1), "app deny 403"),
    ],
)
async def test_what_is_said_at_the_end(
    body: Callable[[WebSocket], Awaitable[object]], said: str
) -> None:
    # contract: C1, C4, L4, X1
    server = testing.Server()
    await block(server, body)
    assert closes(server) == [said]


# contract: X5
@pytest.mark.parametrize("answers", [True, False])
async def test_cancelled_from_outside(answers: bool) -> None:
    """The block does not wait for the answer to the close."""
    server = testing.Server(answers_close=answers)
    with anyio.CancelScope() as scope:
        await block(server, hold, (1, scope.cancel))
    assert scope.cancelled_caught
    assert closes(server) == ["app close 1001"]
    assert anyio.current_time() == about(1)
    assert cancelling() == 0


# contract: X5
async def test_cancelled_from_outside_while_it_waits_for_a_child() -> None:
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper, "child")

    with anyio.CancelScope() as scope:
        await block(server, body, (1, scope.cancel))
    assert scope.cancelled_caught
    assert closes(server) == ["app close 1001"]
    assert log.moments == {"child": 1}


# contract: X5
async def test_cancelled_from_outside_during_the_closing_handshake() -> None:
    """The close in flight is sent."""
    server = testing.Server(answers_close=False)
    with anyio.CancelScope() as scope:
        await block(server, WebSocket.accept, (1, scope.cancel), close_timeout=3)
    assert closes(server) == ["app close 1000"]
    assert anyio.current_time() == about(3)


# contract: X2, X5
async def test_an_error_beside_a_cancellation_from_outside() -> None:
    """On trio both leave a group of the user, next to each other."""
    server = testing.Server()
    error = ValueError("mine")

    async def fail() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise error

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught, anyio.CancelScope() as scope:
        async with anyio.create_task_group() as outside:
            outside.start_soon(cancel_at, scope, 1)
            async with opened(server) as ws:
                await body(ws)
    leaf: BaseException = caught.value
    while isinstance(leaf, ExceptionGroup):
        (leaf,) = leaf.exceptions
    assert leaf is error
    assert closes(server) == ["app close 1011"]


# contract: D5
async def test_the_end_cut_the_body_short() -> None:
    server = testing.Server()
    ended = await block(server, hold, (1, server.peer.close))
    assert ended.own.code == 1000
    assert ended.own.__cause__ is None


# contract: D5
async def test_the_body_ended_by_itself() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass

    ended = await block(server, body, (1, server.peer.close))
    assert ended.error is None
    assert ended.at == about(1)


# contract: D5
async def test_messages_that_were_lost_unnoticed() -> None:
    server = testing.Server(faults=[StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("lost")

    ended = await block(server, body, close_timeout=2)
    assert ended.own.undelivered == 1
    assert str(ended.own.__cause__) == "could not flush and close within 2 s"
    assert ended.at == about(2)


# contract: X3
async def test_own_that_escapes_is_that_very_one() -> None:
    server = testing.Server()
    escaped: list[WebSocketDisconnected] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive()
        except WebSocketDisconnected as exc:
            escaped.append(exc)
            raise

    ended = await block(server, body, (1, server.peer.close))
    assert ended.error is escaped[0]


# contract: X3
async def test_own_that_escapes_in_a_group_is_bare() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ws.receive)
            await anyio.sleep_forever()

    ended = await block(server, body, (1, server.peer.close))
    assert ended.own.code == 1000


# contract: X4
async def test_an_error_carries_a_note_only_if_the_peer_ended_the_connection() -> None:
    server = testing.Server()
    mine, peers = ValueError(), ValueError()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.close(4001)
        async for _ in ws:
            pass
        raise peers

    assert (await block(testing.Server(), failing(mine))).error is mine
    assert not hasattr(mine, "__notes__")
    assert (await block(server, body)).error is peers
    assert "code 4001" in peers.__notes__[0]


# contract: X4
async def test_a_fault_of_the_server_is_not_noted_on_itself() -> None:
    server = testing.Server(faults=[testing.Garbage(2, {"type": "websocket.connect"})])
    ended = await block(server, hold)
    assert ended.error is not None
    assert not hasattr(ended.error, "__notes__")


async def cancel_at(scope: anyio.CancelScope, moment: float) -> None:
    await anyio.sleep_until(moment)
    scope.cancel()


async def close_at(server: testing.Server, moment: float) -> None:
    await anyio.sleep_until(moment)
    server.peer.close()


# contract: C4, R7
async def test_it_waits_for_the_answer_and_no_longer_than_that() -> None:
    server = testing.Server(answers_close=False)
    ended = await block(server, WebSocket.accept, (2, server.peer.answer_close), close_timeout=5)
    assert ended.error is None
    assert ended.at == about(2)


# contract: C5
async def test_a_raw_send_that_cannot_be_given_up(caplog: pytest.LogCaptureFixture) -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(2, go_on, shielded=True)])
    ended = await block(server, WebSocket.accept, (9, go_on.set), close_timeout=2)
    assert ended.at == about(9)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


# contract: C5, X5
async def test_what_cannot_be_given_up_is_dropped_when_cancelled_from_outside() -> None:
    """The cancellation does not interrupt the code that frees the raw send."""
    freed = anyio.Event()
    server = testing.Server(faults=[StallSend(2, freed, shielded=True)])
    server.scope["extensions"] = {
        EXTENSION: ServerExtension(send_over(tcp_server(TRIO, Socket(freed.set))))
    }

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    with anyio.CancelScope() as scope:
        await block(server, body, (1, scope.cancel), close_timeout=2)
    assert scope.cancelled_caught
    assert anyio.current_time() == about(1 + 2 + 1)


# contract: C4
async def test_a_close_that_is_not_answered_is_not_an_abnormal_end() -> None:
    go_on, emitted = anyio.Event(), list[hooks.Event]()
    server = testing.Server(faults=[StallSend(2, go_on)], answers_close=False)
    await block(server, WebSocket.accept, (1, go_on.set), hooks=[emitted.append])
    [end] = [event for event in emitted if isinstance(event, hooks.Disconnected)]
    assert (end.broken, end.cause) == (False, None)


# contract: D5
async def test_the_end_cut_the_body_short_and_then_it_is_cancelled_too() -> None:
    """So the connection did not cause the cancellation that ends the body."""
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await anyio.sleep_forever()
        finally:
            ws.cancel_scope.cancel()

    ended = await block(server, body, (1, server.peer.close))
    assert ended.own.code == 1000


# contract: L2
async def test_one_block_after_another_in_one_task() -> None:
    """The task is part of a connection only while it is in the block."""
    before = enclosing_tasks()
    for _ in range(3):
        await block(testing.Server(), WebSocket.accept)
        assert enclosing_tasks() == before


async def natively(
    server: testing.Server, body: Callable[[WebSocket], Awaitable[object]], *moments: float
) -> asyncio.Task[None]:
    """Run a block in a task that is cancelled natively at these moments."""

    async def run() -> None:
        async with opened(server) as ws:
            await body(ws)

    task = asyncio.create_task(run())
    for moment in moments:
        await anyio.sleep_until(moment)
        task.cancel()
    await asyncio.wait([task])
    assert server.transcript.violations == []
    return task


# contract: X5
@asyncio_only
async def test_cancelled_natively_in_the_body() -> None:
    server = testing.Server()
    task = await natively(server, hold, 1)
    assert task.cancelled()
    assert closes(server) == ["app close 1001"]


# contract: X5
@asyncio_only
async def test_cancelled_natively_during_the_closing_handshake() -> None:
    """Once: the close in flight is sent."""
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(3):
            ws.send_nowait(str(number))

    asyncio.get_running_loop().call_later(2, go_on.set)
    task = await natively(server, body, 1)
    assert task.cancelled()
    assert server.transcript.from_app == ["0"]
    assert len(closes(server)) == 1


# contract: X5
@asyncio_only
async def test_cancelled_natively_twice_it_ends_at_once() -> None:
    for body in (hold, WebSocket.accept):
        stuck = testing.Server(faults=[StallSend(2)])
        began = anyio.current_time()
        task = await natively(stuck, body, began + 1, began + 2)
        assert task.cancelled()
        assert anyio.current_time() == about(began + 2)


# contract: X5
@asyncio_only
@pytest.mark.parametrize("children", [0, 1, 3])
async def test_cancelled_natively_while_the_end_cuts_the_body(children: int) -> None:
    """The cancellation continues with its count, whatever has cancelled the children."""
    server = testing.Server()

    async def unwind_slowly() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(children):
            ws.start_soon(unwind_slowly)
        await unwind_slowly()

    asyncio.get_running_loop().call_later(1, server.peer.vanish)
    task = await natively(server, body, 1.5)
    assert task.cancelled()
    assert task.cancelling() == 1


# contract: X5
@asyncio_only
@pytest.mark.parametrize("ticks", range(8))
@pytest.mark.parametrize("what", ["waits", "reads", "sends"])
@pytest.mark.parametrize("cancel_first", [False, True])
async def test_cancelled_natively_some_ticks_from_the_end(
    ticks: int, what: str, cancel_first: bool
) -> None:
    """The block ends, and it always raises."""
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(anyio.sleep_forever)
        if what == "reads":
            await ws.receive()
        while what == "sends":
            await ws.send("x")
        await anyio.sleep_forever()

    async def run() -> None:
        async with opened(server) as ws:
            await body(ws)

    task = asyncio.create_task(run())
    await anyio.sleep(1)
    actions: list[Callable[[], object]] = [server.peer.vanish, task.cancel]
    for action in reversed(actions) if cancel_first else actions:
        action()
        for _ in range(ticks):
            await asyncio.sleep(0)
    await asyncio.wait([task])
    assert task.cancelled() or isinstance(task.exception(), WebSocketDisconnected)


async def fail_soon() -> None:
    await asyncio.sleep(0)
    raise ValueError


async def leave_a_request_behind() -> None:
    """Do what `asyncio.TaskGroup` does before CPython 3.13 if a child fails during its exit."""
    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail_soon())


# contract: X5
@asyncio_only
async def test_what_asyncio_left_behind_is_taken_back_when_the_end_cuts() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await leave_a_request_behind()
        server.peer.vanish()
        await anyio.sleep_forever()

    assert (await block(server, body)).own.code == server.personality.loss_code


# contract: X5, D3
@asyncio_only
async def test_what_asyncio_left_behind_does_not_cut_a_child_short_that_may_unwind() -> None:
    server, log = testing.Server(), Log()

    async def child(ws: WebSocket) -> None:
        with pytest.raises(WebSocketDisconnected):
            await ws.receive()
        await anyio.sleep(1)
        log.note("child")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        await leave_a_request_behind()
        await log.sleeper("body")

    ended = await block(server, body, (1, server.peer.close))
    assert ended.own.code == 1000
    assert log.moments == {"body": 1, "child": about(2)}


# contract: X5
@asyncio_only
async def test_what_asyncio_left_behind_is_taken_back_when_a_child_fails() -> None:
    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await leave_a_request_behind()
        ws.start_soon(fail_soon)
        await anyio.sleep_forever()

    assert isinstance((await block(testing.Server(), body)).error, ExceptionGroup)


# contract: X6
@pytest.mark.parametrize("where", ["body", "child"])
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_leaves_as_itself(where: str, interrupt: type[BaseException]) -> None:
    server = testing.Server()
    error = interrupt()

    async def fail() -> None:
        raise error

    with pytest.raises(interrupt) as caught:
        async with opened(server) as ws:
            await ws.accept()
            if where == "body":
                await fail()
            ws.start_soon(fail)
            await anyio.sleep_forever()
    assert caught.value is error
    assert closes(server) == ["app close 1011"]


# contract: L2
async def test_a_raw_send_that_fails_at_the_end_is_not_reported_twice() -> None:
    server = testing.Server(faults=[FailSend(2, OSError())])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(WebSocketDisconnected):
            await ws.send("x")

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == []


# contract: X5
async def test_a_cancellation_that_no_task_has_met_yet_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is requested when all tasks have ended, while the server is drained."""
    monkeypatch.setitem(sys.modules, "hypercorn", ModuleType("hypercorn"))
    server = testing.Server(scope={"asgi": {"version": "3.0", "spec_version": "2.3"}})

    async with anyio.create_task_group() as outside:
        with anyio.CancelScope() as scope:
            outside.start_soon(cancel_at, scope, 1.005)
            outside.start_soon(close_at, server, 1)
            async with opened(server) as ws:
                await hold(ws)
    assert scope.cancelled_caught


# contract: X6
async def test_an_interrupt_that_hits_while_it_is_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C does, which can come anywhere."""

    async def interrupted(receiver: Receiver) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Receiver, "quiet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        async with opened(testing.Server()) as ws:
            await ws.accept()
