"""Body and children: which are notified, which are cancelled, and what their failures become."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.abc
import pytest

from tests._helpers import end_abnormally_during
from tests.contract._bench import Log, about, block, closes
from tests.faults._opened import opened
from wsnursery import WebSocket, WebSocketDisconnected, testing
from wsnursery.testing import FailSend


async def read_slowly(ws: WebSocket, seconds: float) -> None:
    async for _ in ws:
        await anyio.sleep(seconds)


# contract: D2, L5
async def test_all_tasks_are_cancelled_at_once_without_a_reader() -> None:
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper, "child")
        await log.sleeper("body")

    ended = await block(server, body, (3, server.peer.close))
    assert ended.own.code == 1000
    assert log.moments == {"child": 3, "body": 3}


# contract: D3
async def test_a_reader_finishes_and_then_the_others_are_cancelled() -> None:
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper, "child")
        for _ in range(2):
            server.peer.send_nowait("x")
        server.peer.close()
        await read_slowly(ws, 1)
        log.note("body")

    ended = await block(server, body)
    assert ended.error is None
    assert log.moments == {"body": about(2), "child": about(2)}


# contract: D3
async def test_a_task_that_ends_together_with_the_reader_in_its_group() -> None:
    """Then its notification is not retracted, because no task is left that it could cancel."""
    server, log = testing.Server(), Log()

    async def reads(ws: WebSocket) -> None:
        with suppress(WebSocketDisconnected):
            await ws.receive()

    async def has_a_group(ws: WebSocket) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(reads, ws)
        log.note("child")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(has_a_group, ws)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(2)
        log.note("body")

    assert (await block(server, body, (1, server.peer.vanish))).error is None
    assert log.moments == {"child": about(1), "body": about(2)}


# contract: D3, L5
async def test_bystanders_end_with_the_body() -> None:
    """A child that reads keeps the rest of the grace period."""
    server, log = testing.Server(), Log()

    async def reader(ws: WebSocket) -> None:
        server.peer.send_nowait("x")
        server.peer.close()
        await read_slowly(ws, 3)
        log.note("reader")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(reader, ws)
        ws.start_soon(log.sleeper, "bystander")
        await anyio.sleep(1)

    ended = await block(server, body)
    assert ended.error is None
    assert log.moments == {"bystander": about(1), "reader": about(3)}


# contract: D3
async def test_the_grace_period_ends_for_all_tasks() -> None:
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper, "child")
        async for _ in ws:
            pass
        await log.sleeper("body")

    ended = await block(server, body, (1, server.peer.close), grace_period=2)
    assert ended.own.code == 1000
    assert log.moments == {"child": about(1), "body": about(3)}


# contract: D1
async def test_a_reader_in_another_group_of_the_body_is_the_body() -> None:
    """Tasks in groups that the body opens count as part of it."""
    server, log = testing.Server(faults=[FailSend(2, OSError())]), Log()

    async def reader(ws: WebSocket) -> None:
        with pytest.raises(WebSocketDisconnected):
            await ws.receive()
        await anyio.sleep(1)
        log.note("reader")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper, "child")
        async with anyio.create_task_group() as own:
            own.start_soon(reader, ws)
            await anyio.sleep(1)
            ws.send_nowait("x")

    ended = await block(server, body)
    assert ended.error is None
    assert log.moments == {"child": about(1), "reader": about(2)}


# contract: D3
@pytest.mark.parametrize("broken", [False, True])
async def test_a_reader_of_another_connection_keeps_no_task_alive(broken: bool) -> None:
    """This connection never cancels it, and it may continue to read after a clean end."""
    server = testing.Server()
    got: list[str | bytes] = []
    websockets: list[WebSocket] = []
    log = Log()

    async def foreign() -> None:
        await anyio.sleep(1)
        (ws,) = websockets
        got.append(await ws.receive())
        with pytest.raises(WebSocketDisconnected):
            await ws.receive()
        log.note("foreign")

    async with anyio.create_task_group() as outside:
        outside.start_soon(foreign)

        async def body(ws: WebSocket) -> None:
            await ws.accept()
            websockets.append(ws)
            await anyio.sleep(1)
            server.peer.send_nowait("x")
            await anyio.sleep(1)
            if broken:
                ws.send_nowait("y")
            else:
                server.peer.close()
            await log.sleeper("body")

        with server.inject(*([FailSend(2, OSError())] if broken else [])):
            ended = await block(server, body)
    assert ended.own.code == (None if broken else 1000)
    assert got == ["x"]
    assert log.moments == {"foreign": about(2), "body": about(2)}


# contract: D3
async def test_a_first_read_after_the_end_keeps_the_rest_of_the_grace() -> None:
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper, "child")
        server.peer.send_nowait("x")
        server.peer.close()
        await anyio.sleep(1)
        assert await ws.receive() == "x"
        with pytest.raises(WebSocketDisconnected):
            await ws.receive()

    ended = await block(server, body)
    assert ended.error is None
    assert log.moments == {"child": about(1)}


# contract: D3
async def test_a_task_notified_before_its_first_read_keeps_no_task_alive() -> None:
    """All readers are notified of the end: the others are cancelled, whatever is unread."""
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper, "child")
        server.peer.send_nowait("x")
        server.peer.close()
        await anyio.sleep(1)
        with pytest.raises(WebSocketDisconnected):
            await ws.send("y")
        await anyio.sleep(1)
        assert await ws.receive() == "x"
        await anyio.sleep(1)
        log.note("body")

    ended = await block(server, body)
    assert ended.error is None
    assert log.moments == {"child": about(2), "body": about(3)}


# contract: D3
@pytest.mark.parametrize("seconds", [1, 3], ids=["before the end", "after the end"])
@pytest.mark.parametrize("fails", [False, True], ids=["returns", "fails before it has started"])
async def test_a_reader_that_has_finished_keeps_no_task_alive(fails: bool, seconds: int) -> None:
    server, log = testing.Server(), Log()

    async def reader(ws: WebSocket, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        if not fails:
            task_status.started()
        assert await ws.receive() == "x"
        await anyio.sleep(seconds)
        if fails:
            raise ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper, "child")
        with suppress(ValueError):
            await ws.start(reader, ws)
        await log.sleeper("body")

    for message in ["x", "unread"]:
        server.peer.send_nowait(message)
    ended = await block(server, body, (2, server.peer.close), grace_period=9)
    assert ended.own.code == 1000
    assert log.moments["child"] == about(max(2, seconds))


# contract: D3, D4
@pytest.mark.parametrize("how", ["soon", "started"])
async def test_a_notified_child_has_not_notified_the_body(how: str) -> None:
    server, log = testing.Server(), Log()

    async def child(ws: WebSocket, *, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        with pytest.raises(WebSocketDisconnected):
            await ws.receive()
        await anyio.sleep(1)
        log.note("child")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        if how == "started":
            await ws.start(child, ws)
        else:
            ws.start_soon(child, ws)
        await log.sleeper("body")

    ended = await block(server, body, (1, server.peer.close), grace_period=9)
    assert ended.own.code == 1000
    assert log.moments == {"body": 1, "child": about(2)}


# contract: D4
async def test_a_child_that_ends_with_the_disconnect_leaves_the_reader_alone() -> None:
    server, log = testing.Server(), Log()
    got: list[str | bytes] = []

    async def child(ws: WebSocket) -> None:
        while True:
            await ws.send("x")
            await anyio.sleep(0.1)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        async for message in ws:
            got.append(message)
            await anyio.sleep(1)
        log.note("body")

    for message in ["a", "b", "c"]:
        server.peer.send_nowait(message)
    ended = await block(server, body, (0.5, server.peer.close))
    assert ended.error is None
    assert got == ["a", "b", "c"]
    assert log.moments == {"body": about(3)}


async def test_a_child_started_after_the_end_has_no_better_fate() -> None:
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(WebSocketDisconnected):
            await ws.receive()
        ws.start_soon(log.sleeper, "child")
        with pytest.raises(WebSocketDisconnected) as caught:
            await ws.start(wait_for_nothing)
        assert caught.value.code == 1000
        await anyio.sleep(1)

    ended = await block(server, body, (1, server.peer.close))
    assert ended.error is None
    assert log.moments == {"child": about(1)}


async def wait_for_nothing(*, task_status: anyio.abc.TaskStatus[None]) -> None:
    await anyio.sleep_forever()


# contract: L5
async def test_start_gives_what_the_child_started_with() -> None:
    log = Log()

    async def child(value: str, *, task_status: anyio.abc.TaskStatus[str]) -> None:
        task_status.started(value * 2)
        await log.sleeper("child")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        assert await ws.start(child, "ab") == "abab"
        ws.cancel_scope.cancel()

    server = testing.Server()
    ended = await block(server, body)
    assert ended.error is None
    assert "child" in log.moments


# contract: X2
@pytest.mark.parametrize("started", [False, True])
async def test_an_error_belongs_to_the_starter_until_the_child_has_started(started: bool) -> None:
    error = ValueError("mine")

    async def child(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        if started:
            task_status.started()
        await anyio.sleep(1)
        raise error

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        if started:
            await ws.start(child)
            await anyio.sleep_forever()
        with pytest.raises(ValueError, match="mine"):
            await ws.start(child)

    ended = await block(testing.Server(), body)
    if started:
        assert isinstance(ended.error, ExceptionGroup)
        assert ended.error.exceptions == (error,)
    else:
        assert ended.error is None


async def test_a_child_that_ends_without_having_started() -> None:
    async def child(*, task_status: anyio.abc.TaskStatus[None]) -> None: ...

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(RuntimeError, match="started"):
            await ws.start(child)

    assert (await block(testing.Server(), body)).error is None


# contract: D4
@pytest.mark.parametrize("how", ["soon", "started", "in a group"])
async def test_a_child_that_lets_the_disconnect_escape_has_ended(how: str) -> None:
    server, log = testing.Server(), Log()

    async def child(ws: WebSocket, *, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        if how == "in a group":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ws.receive)
        await ws.receive()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        if how == "started":
            await ws.start(child, ws)
        else:
            ws.start_soon(child, ws)
        with pytest.raises(WebSocketDisconnected):
            while True:
                await ws.send("x")
                await anyio.sleep(1)
        await anyio.sleep(1)
        log.note("body")

    ended = await block(server, body, (0.5, server.peer.close), grace_period=5)
    if "body" in log.moments:
        assert ended.error is None
    else:
        assert ended.own.code == 1000


# contract: X2, C1
@pytest.mark.parametrize("count", [1, 3])
async def test_children_that_fail_cancel_the_others(count: int) -> None:
    server, log = testing.Server(), Log()

    async def fail(number: int) -> None:
        await anyio.sleep(1)
        raise ValueError(number)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(count):
            ws.start_soon(fail, number)
        ws.start_soon(log.sleeper, "child")
        await log.sleeper("body")

    ended = await block(server, body)
    assert isinstance(ended.error, ExceptionGroup)
    assert {type(error) for error in ended.error.exceptions} == {ValueError}
    assert 1 <= len(ended.error.exceptions) <= count
    assert log.moments == {"child": 1, "body": 1}
    assert closes(server) == ["app close 1011"]


# contract: X1
async def test_a_body_that_fails_cancels_the_children() -> None:
    server, log = testing.Server(), Log()
    error = ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper, "child")
        await anyio.sleep(1)
        raise error

    ended = await block(server, body)
    assert ended.error is error
    assert log.moments == {"child": 1}


# contract: X4
async def test_an_error_in_the_clean_up_of_a_child_that_was_cut() -> None:
    server = testing.Server()

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child)
        await anyio.sleep_forever()

    ended = await block(server, body, (1, server.peer.close))
    assert isinstance(ended.error, ExceptionGroup)
    assert [str(error) for error in ended.error.exceptions] == ["mine"]
    assert "code 1000" in ended.error.__notes__[0]


# contract: D1
@pytest.mark.parametrize("call", ["receive", "send"])
async def test_a_call_that_was_cancelled_has_notified_no_task(call: str) -> None:
    """The task is cancelled like the others, although its call ended at the same moment."""
    server, log = testing.Server(faults=[testing.StallSend(2)]), Log()
    calls: dict[str, Callable[[WebSocket], Awaitable[object]]] = {
        "receive": lambda ws: ws.receive(),
        "send": lambda ws: ws.send("x"),
    }
    websockets: list[WebSocket] = []
    notified = False

    async def child(ready: anyio.Event, scope: anyio.CancelScope) -> None:
        nonlocal notified
        try:
            with scope:
                ready.set()
                await calls[call](websockets[0])
            await anyio.sleep_forever()
        except WebSocketDisconnected:
            notified = True
            await anyio.sleep_forever()
        finally:
            log.note("child")

    async def body(ws: WebSocket) -> None:
        websockets.append(ws)
        await end_abnormally_during(ws, server, child)

    ended = await block(server, body, grace_period=5)
    assert ended.own.code is None
    assert log.moments["child"] == pytest.approx(5 if notified else 0, abs=0.3)


# contract: X1
async def test_a_failure_after_all_tasks_have_ended() -> None:
    error = ValueError("mine")
    server = testing.Server(faults=[FailSend(2, error)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("refused")

    ended = await block(server, body)
    assert ended.error is error


# contract: X7
async def test_a_child_of_one_connection_inside_the_block_of_another() -> None:
    """It belongs to the task that started it."""
    outer, inner, log = testing.Server(), testing.Server(), Log()
    async with opened(outer) as ws:
        await ws.accept()
        with pytest.raises(WebSocketDisconnected) as caught:
            async with opened(inner) as other:
                await other.accept()
                ws.start_soon(log.sleeper, "child")
                await anyio.sleep(1)
                inner.peer.close(4001)
                await anyio.sleep_forever()
        assert caught.value.code == 4001
        await anyio.sleep(1)
        assert log.moments == {}
        ws.cancel_scope.cancel()
        await anyio.sleep(0.1)
    assert "child" in log.moments
