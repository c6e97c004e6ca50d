"""X: what the block raises."""

import asyncio
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest

from tests.contract._bench import (
    Log,
    about,
    block,
    cancelling,
    closes,
    notified_by,
)
from wsnursery import (
    Options,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
    websocket_app,
)

pytestmark = pytest.mark.usefixtures("over_both_paths")

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
on_trio = pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)


def chain(error: BaseException) -> list[BaseException]:
    """An error with all exceptions in its contexts, causes and groups."""
    found: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        error_or_none = todo.pop()
        if error_or_none is None or any(error_or_none is other for other in found):
            continue
        found.append(error_or_none)
        todo += [error_or_none.__context__, error_or_none.__cause__]
        if isinstance(error_or_none, BaseExceptionGroup):
            todo += error_or_none.exceptions
    return found


def mentions_the_disconnect(error: BaseException) -> bool:
    """Whether the disconnect is in the context or in a note."""
    return any(
        isinstance(found, WebSocketDisconnected)
        or any("WebSocket connection has ended" in note for note in getattr(found, "__notes__", []))
        for found in chain(error)
    )


# X1: the body failed


# contract: X1
@pytest.mark.parametrize(
    "kind", [ValueError, OSError, RuntimeError, lambda text: ExceptionGroup(text, [OSError()])]
)
async def test_the_error_of_the_body_leaves_bare(kind: Callable[[str], Exception]) -> None:
    mine = kind("mine")
    server = testing.Server()
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)
        await anyio.sleep(1)
        raise mine

    ended = await block(server, body)
    assert ended.error is mine
    assert traceback.extract_tb(mine.__traceback__)[-1].name == "body"
    assert mine.__cause__ is None
    assert mine.__context__ is None
    assert not hasattr(mine, "__notes__")
    assert log.moments == {"sleeper": 1}
    assert server.transcript.app_close is not None
    code, reason = server.transcript.app_close
    assert code == 1011
    assert "mine" not in reason
    assert len(closes(server)) == 1
    assert ended.at == about(1)


# contract: X1, T3
async def test_the_reason_of_1011_is_fixed() -> None:
    reasons = set()
    for mine in (ValueError("secret"), KeyError("password"), ExceptionGroup("g", [OSError("s")])):
        server = testing.Server()

        async def body(ws: WebSocket, mine: Exception = mine) -> None:
            await ws.accept()
            raise mine

        await block(server, body)
        reasons.add(server.transcript.app_close)
    assert len(reasons) == 1


# contract: X1
async def test_a_custom_cause_and_context_are_kept() -> None:
    server = testing.Server()
    cause, context = KeyError("cause"), LookupError("context")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        try:
            raise context
        except LookupError:
            raise ValueError("mine") from cause

    ended = await block(server, body)
    assert type(ended.error) is ValueError
    assert ended.error.__cause__ is cause
    assert ended.error.__context__ is context


# contract: X1
async def test_what_was_queued_before_the_error_is_not_torn() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("a")
        raise ValueError("mine")

    ended = await block(server, body)
    assert type(ended.error) is ValueError
    assert server.transcript.from_app == ["a"]
    assert server.transcript.violations == []


# X2: children failed


async def fails(error: BaseException, after: float = 0) -> None:
    await anyio.sleep(after)
    raise error


# contract: X2
async def test_one_child_failed() -> None:
    server = testing.Server()
    log = Log()
    mine = ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)
        ws.start_soon(fails, mine, 3)
        await log.sleeper("body")

    ended = await block(server, body)
    assert type(ended.error) is ExceptionGroup
    assert ended.error.exceptions == (mine,)
    assert log.moments == {"sleeper": 3, "body": 3}
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1011
    assert len(closes(server)) == 1


# contract: X2
async def test_two_children_failed_in_order() -> None:
    server = testing.Server()
    first, second = ValueError("first"), KeyError("second")

    async def fails_in_clean_up() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise second

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(fails_in_clean_up)
        await anyio.wait_all_tasks_blocked()
        ws.start_soon(fails, first, 3)
        await anyio.sleep_forever()

    ended = await block(server, body)
    assert type(ended.error) is ExceptionGroup
    assert ended.error.exceptions == (first, second)


# contract: X2
async def test_children_and_body_failed() -> None:
    server = testing.Server()
    first, second = ValueError("child"), KeyError("body")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(fails, first, 3)
        try:
            await anyio.sleep_forever()
        finally:
            raise second

    ended = await block(server, body)
    assert type(ended.error) is ExceptionGroup
    assert set(ended.error.exceptions) == {first, second}
    assert len(ended.error.exceptions) == 2


# contract: X2
async def test_the_body_failed_and_then_a_child_in_its_clean_up() -> None:
    server = testing.Server()
    first, second = ValueError("body"), KeyError("child")

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise second

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child)
        await anyio.sleep(1)
        raise first

    ended = await block(server, body)
    assert type(ended.error) is ExceptionGroup
    assert set(ended.error.exceptions) == {first, second}


# contract: X2
async def test_a_child_failed_after_the_body_had_returned() -> None:
    server = testing.Server()
    mine = ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(fails, mine, 3)

    ended = await block(server, body)
    assert type(ended.error) is ExceptionGroup
    assert ended.error.exceptions == (mine,)
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1011


# contract: X2
async def test_own_is_filtered_out_of_the_group_of_a_child() -> None:
    server = testing.Server()
    first, second = ValueError("first"), KeyError("second")

    async def child(ws: WebSocket) -> None:
        try:
            await ws.receive()
        except WebSocketDisconnected as own:
            inner = ExceptionGroup("inner", [own, second])
            raise ExceptionGroup("outer", [first, inner, own]) from None

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        await anyio.sleep_forever()

    ended = await block(server, body, (3, server.peer.vanish))
    assert type(ended.error) is ExceptionGroup
    (outer,) = ended.error.exceptions
    assert isinstance(outer, ExceptionGroup)
    assert outer.message == "outer"
    assert outer.exceptions[0] is first
    inner = outer.exceptions[1]
    assert isinstance(inner, ExceptionGroup)
    assert inner.message == "inner"
    assert inner.exceptions == (second,)
    assert len(outer.exceptions) == 2


# contract: X2, X4
async def test_a_child_fails_and_the_body_lets_own_escape() -> None:
    server = testing.Server()
    mine = ValueError("mine")

    async def child(ws: WebSocket) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise mine

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        await ws.receive()

    ended = await block(server, body, (3, server.peer.vanish))
    assert type(ended.error) is ExceptionGroup
    assert ended.error.exceptions == (mine,)
    assert mentions_the_disconnect(ended.error)
    assert closes(server) == []


# contract: X2, X5
async def test_a_child_fails_while_cancelled_from_outside() -> None:
    server = testing.Server()
    mine = ValueError("mine")

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise mine

    with anyio.move_on_after(3) as scope, pytest.raises(ExceptionGroup) as caught:
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
            ws.start_soon(child)
            await anyio.sleep_forever()
    assert caught.value.exceptions == (mine,)
    assert not scope.cancelled_caught
    assert len(closes(server)) == 1
    assert cancelling() == 0


# X3: only own


# contract: X3
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("broken", [False, True])
async def test_own_out_of_groups_inside_the_body(depth: int, broken: bool) -> None:
    server = testing.Server()
    cause = OSError("mine")

    async def nested(ws: WebSocket, depth: int) -> None:
        if depth == 0:
            await ws.send("x")
            await anyio.sleep(1)
            await ws.send("x")
            return
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(nested, ws, depth - 1)
            tasks.start_soon(anyio.sleep_forever)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        if broken:
            ws.start_soon(breaks, ws)
        await nested(ws, depth)

    async def breaks(ws: WebSocket) -> None:
        await anyio.sleep(0.5)
        with server.inject(testing.FailSend(1, cause)):
            await ws.send("x")

    ended = await block(server, body, (0.5 if not broken else 50, server.peer.vanish))
    assert ended.own.__cause__ is (cause if broken else None)


# contract: X3
@pytest.mark.parametrize("broken", [False, True])
async def test_own_out_of_a_group_that_raises_it_itself(broken: bool) -> None:
    """The body is not interrupted: the groups raise it, as an ExceptionGroup."""
    cause = OSError("mine")
    faults = [testing.FailSend(2, cause)] if broken else []
    server = testing.Server(faults=faults)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as outer:
            outer.start_soon(anyio.sleep_forever)
            async with anyio.create_task_group() as inner:
                inner.start_soon(sends if broken else reads, ws)
                inner.start_soon(anyio.sleep_forever)

    async def sends(ws: WebSocket) -> None:
        await ws.send("x")

    async def reads(ws: WebSocket) -> None:
        await ws.receive()

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.own.__cause__ is (cause if broken else None)


# contract: X3
@on_trio
async def test_own_out_of_a_trio_nursery() -> None:
    trio = pytest.importorskip("trio")
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            inner.start_soon(ws.receive)
            outer.start_soon(trio.sleep_forever)

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.own.code == 1006


# contract: X3, X5
@on_asyncio
async def test_own_out_of_an_asyncio_task_group() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
            inner.create_task(ws.receive())
            outer.create_task(asyncio.sleep(1000))

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.own.code == 1006


# contract: X3
async def test_own_twice_in_a_group_of_the_users_own_making() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        errors = [await notified_by(ws.receive), await notified_by(lambda: ws.send("x"))]
        raise ExceptionGroup("mine", errors)

    ended = await block(server, body, (3, lambda: server.peer.close(4001, "bye")))
    assert (ended.own.code, ended.own.reason) == (4001, "bye")


# contract: X1, X3
async def test_an_error_made_of_own_is_an_application_error() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive()
        except WebSocketDisconnected as own:
            raise RuntimeError("mine") from own

    ended = await block(server, body, (3, server.peer.vanish))
    assert type(ended.error) is RuntimeError
    assert type(ended.error.__cause__) is WebSocketDisconnected


# X4: an application error and a disconnect


# contract: X4
async def test_the_error_of_the_clean_up_leaves_with_the_disconnect_as_context() -> None:
    server = testing.Server()
    mine = ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await anyio.sleep_forever()
        finally:
            raise mine

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.error is mine
    assert mentions_the_disconnect(mine)
    assert closes(server) == []


# contract: X4
async def test_the_error_of_the_handler_of_the_disconnect() -> None:
    server = testing.Server(faults=[testing.FailSend(2, OSError("gone"))])
    mine = ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.send("x")
        except WebSocketDisconnected:
            raise mine  # noqa: B904 - the context is what this test is about

    ended = await block(server, body)
    assert ended.error is mine
    assert type(mine.__context__) is WebSocketDisconnected


# contract: X4
async def test_own_and_an_error_in_one_group_of_the_body() -> None:
    """E itself leaves, without this connection's disconnect in it."""
    server = testing.Server()
    mine = ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ws.receive)

            async def child() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    raise mine

            tasks.start_soon(child)

    ended = await block(server, body, (3, server.peer.vanish))
    assert isinstance(ended.error, ExceptionGroup)
    assert ended.error.exceptions == (mine,)
    assert mentions_the_disconnect(ended.error)


# X5: cancelled from outside


# contract: X5
@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda p: p.name)
async def test_cancelled_by_a_scope(personality: testing.Personality) -> None:
    server = testing.Server(personality=personality)
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)
        await log.sleeper("body")

    with anyio.move_on_after(3) as scope:
        await block(server, body)
    assert scope.cancelled_caught
    assert log.moments == {"sleeper": 3, "body": 3}
    assert anyio.current_time() == about(3)
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1001
    assert len(closes(server)) == 1
    assert server.transcript.violations == []
    assert cancelling() == 0


# contract: X5
async def test_cancelled_what_is_queued_is_dropped_and_what_is_in_flight_finishes() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on)])

    async def release() -> None:
        await anyio.sleep(5)
        go_on.set()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for text in ("in flight", "dropped", "dropped too"):
            ws.send_nowait(text)
        await anyio.sleep_forever()

    async with anyio.create_task_group() as outside:
        outside.start_soon(release)
        with anyio.move_on_after(3) as scope:
            await block(server, body)
        assert scope.cancelled_caught
        assert anyio.current_time() == about(5)
    assert server.transcript.from_app == ["in flight"]
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1001


# contract: X5, C5
@pytest.mark.parametrize("close_timeout", [0.5, 2, 5])
async def test_cancelled_the_farewell_is_bounded(close_timeout: float) -> None:
    server = testing.Server(faults=[testing.StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep_forever()

    with anyio.move_on_after(3) as scope:
        await block(server, body, close_timeout=close_timeout)
    assert scope.cancelled_caught
    assert anyio.current_time() == about(3 + close_timeout)


# contract: X5
async def test_cancelled_before_accept() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(3) as scope:
        await block(server, body)
    assert scope.cancelled_caught
    assert len(closes(server)) == 1


# contract: X5
async def test_cancelled_after_the_body_finished() -> None:
    server = testing.Server()
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)

    with anyio.move_on_after(3) as scope:
        await block(server, body)
    assert scope.cancelled_caught
    assert log.moments == {"sleeper": 3}
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1001


# contract: X5
async def test_cancelled_during_the_close() -> None:
    """The close has already been sent. The wait for its answer is interrupted, or ends in time."""
    server = testing.Server(answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()

    with anyio.move_on_after(3):
        await block(server, body)
    assert anyio.current_time() <= 5.1
    assert closes(server) == ["app close 1000"]
    assert server.transcript.violations == []


# contract: X5
async def test_cancelled_and_disconnected_in_the_same_moment() -> None:
    """One of the two leaves, never a group, never both."""
    for first in ("cancel", "vanish"):
        server = testing.Server()

        async def body(ws: WebSocket, first: str = first, server: testing.Server = server) -> None:
            await ws.accept()
            await anyio.wait_all_tasks_blocked()
            for action in (scope.cancel, server.peer.vanish)[:: 1 if first == "cancel" else -1]:
                action()
            await anyio.sleep_forever()

        errors: list[Exception | None] = []
        with anyio.CancelScope() as scope:
            errors.append((await block(server, body)).error)
        if errors:
            assert type(errors[0]) is WebSocketDisconnected
            assert not scope.cancelled_caught
        else:
            assert scope.cancelled_caught
        assert cancelling() == 0


# contract: X5
async def test_a_timeout_around_the_block() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()

    with pytest.raises(TimeoutError):
        with anyio.fail_after(3):
            await block(server, body)


# X5: native cancellation of asyncio


async def native(
    server: testing.Server,
    body: Callable[[WebSocket], Awaitable[None]],
    *,
    options: Options = Options(),
) -> None:
    async with open_websocket(server.scope, server.receive, server.send, options=options) as ws:
        await body(ws)


async def waits_to_be_cancelled(ws: WebSocket) -> None:
    await ws.accept()
    ws.start_soon(anyio.sleep_forever)
    await anyio.sleep_forever()


async def reads(ws: WebSocket) -> None:
    await ws.accept()
    async for _ in ws:
        pass


async def sends(ws: WebSocket) -> None:
    await ws.accept()
    ws.start_soon(ws.receive)
    while True:
        await ws.send("x")
        await asyncio.sleep(1)


async def stuck(ws: WebSocket) -> None:
    await ws.accept()
    for _ in range(30):
        await ws.send("x")


async def has_returned(ws: WebSocket) -> None:
    await ws.accept()
    ws.start_soon(anyio.sleep_forever)


NATIVE = [waits_to_be_cancelled, reads, sends, stuck, has_returned]


# contract: X5
@on_asyncio
@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda p: p.name)
@pytest.mark.parametrize("body", NATIVE)
async def test_a_native_cancel_goes_on(
    body: Callable[[WebSocket], Awaitable[None]], personality: testing.Personality
) -> None:
    if body is stuck and personality in (testing.HYPERCORN_TRIO, testing.DAPHNE):
        pytest.skip("a send there cannot be abandoned, or is never stuck")
    server = testing.Server(personality=personality)
    before = asyncio.all_tasks()
    task = asyncio.create_task(native(server, body))
    await asyncio.sleep(3)
    assert task.cancel("mine")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert task.cancelling() == 1
    assert asyncio.all_tasks() == before
    assert server.transcript.violations == []
    if body is not stuck:
        assert anyio.current_time() == about(3)
        assert server.transcript.app_close is not None
        assert server.transcript.app_close[0] == 1001
    assert anyio.current_time() <= 8.1


# contract: X5
@on_asyncio
@pytest.mark.parametrize("body", NATIVE)
@pytest.mark.parametrize("second", range(6))
async def test_a_second_native_cancel_ends_the_close(
    body: Callable[[WebSocket], Awaitable[None]], second: int
) -> None:
    server = testing.Server(faults=[testing.StallSend(2)])
    before = asyncio.all_tasks()
    task = asyncio.create_task(native(server, body))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.sleep(0.3 * second)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert anyio.current_time() <= 1 + 5.1
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert server.transcript.violations == []


# contract: X5
@on_asyncio
@pytest.mark.parametrize("after", range(12))
async def test_a_second_native_cancel_at_any_moment(after: int) -> None:
    server = testing.Server(faults=[testing.Delay(3)])
    before = asyncio.all_tasks()
    task = asyncio.create_task(native(server, waits_to_be_cancelled))
    await asyncio.sleep(1)
    task.cancel()
    for _ in range(after):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.1)
    assert asyncio.all_tasks() == before
    assert len(closes(server)) <= 1


# contract: X5
@on_asyncio
@pytest.mark.parametrize("body", NATIVE)
async def test_asyncio_timeout_around_the_block(
    body: Callable[[WebSocket], Awaitable[None]],
) -> None:
    server = testing.Server()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await native(server, body)
    assert cancelling() == 0
    assert anyio.current_time() <= 8.1
    await asyncio.sleep(1)
    assert len(closes(server)) == (body is not stuck)


# contract: X5
@on_asyncio
async def test_wait_for_around_the_block() -> None:
    server = testing.Server()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(native(server, waits_to_be_cancelled), 3)
    assert cancelling() == 0
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1001


# contract: X5, R1
@on_asyncio
@pytest.mark.parametrize("after", [None, "message", "disconnect"])
async def test_asyncio_timeout_inside_the_block(after: str | None) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(3):
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await ws.receive()
            assert cancelling() == 0
        if after == "message":
            server.peer.send_nowait("x")
            async with asyncio.timeout(1):
                assert await ws.receive() == "x"
        elif after == "disconnect":
            server.peer.vanish()
            async with asyncio.timeout(1):
                await ws.receive()

    ended = await block(server, body)
    if after == "disconnect":
        assert ended.own.code == 1006
    else:
        assert ended.error is None
    assert cancelling() == 0


# contract: X5
@on_asyncio
async def test_asyncio_timeout_inside_the_block_and_a_disconnect_that_cuts_it() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with asyncio.timeout(10):
            await asyncio.sleep(1000)

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.own.code == 1006
    assert ended.at == about(3)
    assert cancelling() == 0


# contract: X5
@on_asyncio
@pytest.mark.parametrize("what", ["sleep", "receive", "send"])
@pytest.mark.parametrize("how", ["vanish", "break"])
async def test_asyncio_task_group_inside_the_block(what: str, how: str) -> None:
    """Before 3.13 it can leave the count at 1. Then anyio lets our own cancellation escape."""
    server = testing.Server(send_queue=2)
    cause = OSError("mine")

    async def does(ws: WebSocket) -> None:
        if what == "sleep":
            await asyncio.sleep(1000)
        elif what == "receive":
            await ws.receive()
        else:
            while True:
                await ws.send("x")

    async def breaks(ws: WebSocket) -> None:
        await asyncio.sleep(3)
        with server.inject(testing.FailSend(1, cause)):
            await ws.send("y")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        if how == "break":
            ws.start_soon(breaks, ws)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3 if what != "receive" else 1):
                tasks.create_task(does(ws))

    if what == "send" and how == "break":
        pytest.skip("the sends would never wait")
    ended = await block(server, body, (3.5, server.peer.vanish))
    assert ended.own.__cause__ is (cause if how == "break" else None)
    assert cancelling() == 0


# contract: X5
@on_asyncio
@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_asyncio_task_groups_in_each_other_inside_the_block(depth: int) -> None:
    server = testing.Server()

    async def nested(depth: int) -> None:
        if depth == 0:
            await asyncio.sleep(1000)
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(nested(depth - 1))
            tasks.create_task(asyncio.sleep(1000))

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await nested(depth)

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.own.code == 1006
    assert cancelling() == 0
    async with asyncio.timeout(1):
        await asyncio.sleep(0.5)


# contract: X5
@on_asyncio
async def test_asyncio_task_group_inside_a_child() -> None:
    server = testing.Server()

    async def child() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(1000))

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child)
        async for _ in ws:
            pass

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.error is None
    assert cancelling() == 0


# contract: X5
@on_asyncio
async def test_an_error_in_an_asyncio_task_group_inside_the_block() -> None:
    server = testing.Server()
    mine = ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails(mine, 1))
            tasks.create_task(ws.receive())

    ended = await block(server, body)
    assert isinstance(ended.error, ExceptionGroup)
    assert ended.error.exceptions == (mine,)
    assert cancelling() == 0
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1011


# contract: X5
@on_asyncio
async def test_asyncio_task_group_around_the_block() -> None:
    servers = [testing.Server() for _ in range(3)]
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            for server in servers:
                tasks.create_task(native(server, waits_to_be_cancelled))
            tasks.create_task(fails(ValueError("mine"), 3))
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    if sys.version_info >= (3, 13):  # before, it stays at 1 without any WebSocket
        assert cancelling() == 0
    for server in servers:
        assert server.transcript.app_close is not None
        assert server.transcript.app_close[0] == 1001


# contract: X5
@on_asyncio
async def test_the_block_in_the_body_of_an_asyncio_task_group() -> None:
    server = testing.Server()
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails(ValueError("mine"), 3))
            await native(server, waits_to_be_cancelled)
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert cancelling() == 0
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1001


# contract: X5
@on_asyncio
async def test_own_in_an_asyncio_task_group_around_the_block() -> None:
    server = testing.Server()
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(native(server, waits_to_be_cancelled))
            await asyncio.sleep(3)
            server.peer.vanish()
    assert [type(error) for error in caught.value.exceptions] == [WebSocketDisconnected]


# contract: X5
@on_asyncio
@pytest.mark.parametrize("order", ["cancel first", "disconnect first"])
@pytest.mark.parametrize("between", range(4))
@pytest.mark.parametrize("body", [waits_to_be_cancelled, reads, sends])
async def test_a_native_cancel_and_a_disconnect_together(
    order: str, between: int, body: Callable[[WebSocket], Awaitable[None]]
) -> None:
    """Never a group, never a hang; a cancellation is never swallowed."""
    server = testing.Server()
    before = asyncio.all_tasks()
    task = asyncio.create_task(native(server, body))
    await asyncio.sleep(1)
    actions: list[Callable[[], object]] = [task.cancel, server.peer.vanish]
    if order == "disconnect first":
        actions.reverse()
    for action in actions:
        action()
        for _ in range(between):
            await asyncio.sleep(0)
    await asyncio.wait([task])
    assert asyncio.all_tasks() == before
    if not task.cancelled():
        assert type(task.exception()) in (WebSocketDisconnected, type(None))
        assert order == "disconnect first"
    assert server.transcript.violations == []


# contract: X5
@on_asyncio
async def test_the_count_of_cancellations_after_our_own() -> None:
    """Our own cancellation of body and children is not counted against the task."""
    for body in (waits_to_be_cancelled, sends, reads):
        server = testing.Server()
        await block(server, body, (anyio.current_time() + 3, server.peer.vanish))
        assert cancelling() == 0
        await asyncio.sleep(0)


# X6


class Stop(SystemExit):
    """Distinguishable."""


# contract: X6
@pytest.mark.parametrize("name", ["asyncio", "trio"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, Stop])
@pytest.mark.parametrize("where", ["body", "child", "group in the body", "clean-up"])
def test_keyboard_interrupt_and_system_exit(
    name: str, kind: type[BaseException], where: str
) -> None:
    server = testing.Server()

    async def stop() -> None:
        await anyio.sleep(1)
        raise kind

    async def main() -> None:
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
            if where == "body":
                await stop()
            elif where == "child":
                ws.start_soon(stop)
                await anyio.sleep_forever()
            elif where == "group in the body":
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(stop)
            else:
                server.peer.vanish()
                try:
                    await anyio.sleep_forever()
                finally:
                    raise kind

    backend, options = testing.virtual_backend(name)
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - the type is checked below
        anyio.run(main, backend=backend, backend_options=options)
    assert type(caught.value) is kind


# X7: another connection


# contract: X7
async def test_the_disconnect_of_another_connection_in_the_body() -> None:
    server, other_server = testing.Server(), testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with open_websocket(
            other_server.scope, other_server.receive, other_server.send
        ) as other:
            await other.accept()
            other_server.peer.close(4002)
            with suppress(WebSocketDisconnected):
                await other.receive()
            error.append(await notified_by(lambda: other.send("x")))
        raise error[0]

    error: list[WebSocketDisconnected] = []
    ended = await block(server, body)
    assert ended.error is error[0]
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1011


# contract: X7
async def test_the_disconnect_of_another_connection_in_a_child() -> None:
    server, other_server = testing.Server(), testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()

        async def child() -> None:
            async with open_websocket(
                other_server.scope, other_server.receive, other_server.send
            ) as other:
                await other.accept()
                await other.receive()

        ws.start_soon(child)
        async for _ in ws:
            pass

    ended = await block(server, body, (3, lambda: other_server.peer.close(4002)))
    assert type(ended.error) is ExceptionGroup
    (error,) = ended.error.exceptions
    assert isinstance(error, WebSocketDisconnected)
    assert error.code == 4002
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1011


# contract: X7
async def test_both_connections_are_gone() -> None:
    """The disconnect of the other is an application error; that of this connection is removed."""
    server, other_server = testing.Server(), testing.Server()
    theirs: list[WebSocketDisconnected] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with open_websocket(
            other_server.scope, other_server.receive, other_server.send
        ) as other:
            await other.accept()
            theirs.append(await notified_by(other.receive))
        raise ExceptionGroup("both", [await notified_by(ws.receive), *theirs])

    ended = await block(
        server,
        body,
        (3, lambda: other_server.peer.close(4002)),
        (4, lambda: server.peer.close(4001)),
    )
    assert isinstance(ended.error, ExceptionGroup)
    assert ended.error.message == "both"
    assert ended.error.exceptions == tuple(theirs)
    assert mentions_the_disconnect(ended.error)


# contract: X7
async def test_a_task_of_another_connection_that_sends_here_is_notified_and_not_cancelled() -> None:
    server, other_server = testing.Server(), testing.Server()
    log = Log()

    async def other_body(other: WebSocket) -> None:
        await other.accept()
        await is_open.wait()
        (ws,) = opened
        while True:
            try:
                await ws.send("from the other")
            except (WebSocketDisconnected, anyio.ClosedResourceError):
                log.note("notified")
                break
            await anyio.sleep(1)
        await anyio.sleep(10)
        log.note("goes on")

    opened: list[WebSocket] = []
    is_open = anyio.Event()

    async def body(ws: WebSocket) -> None:
        opened.append(ws)
        await ws.accept()
        is_open.set()
        await log.sleeper("body")

    async def run_other() -> None:
        async with open_websocket(
            other_server.scope, other_server.receive, other_server.send
        ) as other:
            await other_body(other)

    async with anyio.create_task_group() as outside:
        outside.start_soon(run_other)

        async def run_this() -> None:
            with pytest.raises(WebSocketDisconnected):
                async with open_websocket(server.scope, server.receive, server.send) as ws:
                    await body(ws)

        outside.start_soon(run_this)
        await anyio.sleep(3.5)
        server.peer.vanish()
    assert log.moments["body"] == 3.5
    assert log.moments["notified"] == about(4.1) or log.moments["notified"] <= 5
    assert log.moments["goes on"] == log.moments["notified"] + 10
    assert closes(other_server) == ["app close 1000"]


# X8: websocket_app


def lines_of(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("wsnursery") and record.levelno == level
    ]


# contract: X8
@pytest.mark.parametrize("personality", testing.BASIC, ids=lambda p: p.name)
async def test_the_app_swallows_own(
    personality: testing.Personality, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="wsnursery")

    @websocket_app
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send("x")
            await ws.receive()

    async with testing.connect(app, personality=personality) as client:
        client.vanish()
        await client.app_finished()
    assert client.exception is None
    assert lines_of(caplog, logging.DEBUG)
    assert lines_of(caplog, logging.WARNING) == lines_of(caplog, logging.ERROR) == []


# contract: X8
async def test_the_app_lets_the_error_of_the_handler_through() -> None:
    mine = ValueError("mine")

    @websocket_app
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()
        raise mine

    with pytest.raises(ValueError, match="mine") as caught:
        async with testing.connect(app) as client:
            await client.send("x")
            await client.app_finished()
    assert caught.value is mine
    assert client.transcript.app_close is not None
    assert client.transcript.app_close[0] == 1011


# contract: X8, X2
async def test_the_app_lets_the_errors_of_children_through() -> None:
    mine = ValueError("mine")

    @websocket_app
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(fails, mine, 1)
        await ws.receive()

    with pytest.raises(ExceptionGroup) as caught:
        async with testing.connect(app) as client:
            await client.app_finished()
    assert caught.value.exceptions == (mine,)


# contract: X8, X7
async def test_the_app_lets_the_disconnect_of_another_connection_through() -> None:
    others: list[WebSocket] = []

    @websocket_app
    async def other(ws: WebSocket) -> None:
        await ws.accept()
        others.append(ws)
        with suppress(WebSocketDisconnected):
            await ws.receive()
        await anyio.sleep(2)

    @websocket_app
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()
        await others[0].send("x")

    with pytest.raises(WebSocketDisconnected) as caught:
        async with testing.connect(other) as second, testing.connect(app) as client:
            second.close(4002)
            await anyio.sleep(1)
            await client.send("go")
            await client.app_finished()
    assert caught.value.code == 4002


# contract: X8, X5
async def test_the_app_lets_a_cancellation_through() -> None:
    @websocket_app
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()

    async with testing.connect(app) as client:
        client.cancel_app()
        await client.app_finished()
    assert client.transcript.app_close is not None
    assert client.transcript.app_close[0] == 1001


# contract: X1
@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes")
async def test_no_group_of_the_library_is_in_the_traceback_of_a_single_error() -> None:
    """The traceback shows the error alone, not "During handling of an ExceptionGroup"."""
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()

    ended = await block(server, body, (3, server.peer.vanish))
    assert not any(isinstance(error, BaseExceptionGroup) for error in chain(ended.own))
