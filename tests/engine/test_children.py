"""`start_soon` and `start`: what they refuse, and the handle that they return."""

import gc
import re
import weakref
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import anyio
import pytest
from anyio import TaskHandle
from anyio.abc import TaskStatus

from tests.contract._bench import block
from tests.faults._opened import opened
from wsnursery import WebSocket, WebSocketDisconnected, testing
from wsnursery.hooks import Event, TaskStarted


async def ticker(ws: WebSocket) -> None:
    await ws.send("tick")


def plain(*args: object, **kwargs: object) -> None:
    pass


async def asyncgen(*args: object, **kwargs: object) -> AsyncIterator[int]:
    yield 1


MISTAKES: dict[str, tuple[Callable[[WebSocket], tuple[Any, ...]], str]] = {
    "coroutine": (
        lambda ws: (ticker(ws),),
        "write {call}(ticker, ...) instead of {call}(ticker(...))",
    ),
    "plain function": (
        lambda ws: (plain, ws),
        "plain() returned NoneType: write `async def plain`",
    ),
    "generator": (lambda ws: (asyncgen, ws), "read it with `async for` in an async function"),
    "partial": (lambda ws: (partial(plain, ws),), "plain() returned NoneType"),
    "nothing": (lambda ws: (None,), "{call}() needs an async function, got NoneType"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("call", ["start_soon", "start"])
async def test_a_mistake_is_refused_where_it_stands(call: str, mistake: str) -> None:
    arguments, advice = MISTAKES[mistake]
    server = testing.Server()
    async with opened(server) as ws:
        await ws.accept()
        with pytest.raises(TypeError, match=re.escape(advice.format(call=call))):
            if call == "start":
                await ws.start(*arguments(ws))
            else:
                ws.start_soon(*arguments(ws))
        await ws.send("still here")
    assert server.transcript.from_app == ["still here"]


async def test_arguments_that_do_not_fit() -> None:
    async with opened(testing.Server()) as ws:
        await ws.accept()
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'ws'"):
            ws.start_soon(ticker)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="task_status"):
            await ws.start(ticker, ws)


async def test_the_handle_gives_the_result() -> None:
    async def double(number: int) -> int:
        await anyio.sleep(1)
        return number * 2

    async with opened(testing.Server()) as ws:
        await ws.accept()
        handle = ws.start_soon(double, 21, name="doubling")
        assert handle.name == "doubling"
        assert handle.status is TaskHandle.Status.PENDING
        assert await handle == 42
        assert handle.return_value == 42
        assert ws.start_soon(double, 1).name == "test_the_handle_gives_the_result.<locals>.double"


# contract: X5
async def test_the_handle_cancels_one_child_alone() -> None:
    server = testing.Server()
    cleaned: list[str] = []

    async def child(name: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.append(name)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        first, second = ws.start_soon(child, "first"), ws.start_soon(child, "second")
        await anyio.sleep(1)
        first.cancel()
        with pytest.raises(anyio.TaskCancelled):
            await first
        assert cleaned == ["first"]
        assert second.status is TaskHandle.Status.PENDING
        await ws.send("still here")
        second.cancel()

    assert (await block(server, body)).error is None
    assert server.transcript.from_app == ["still here"]
    assert cleaned == ["first", "second"]


async def test_a_child_that_is_cancelled_before_it_begins() -> None:
    begun: list[bool] = []

    async def child() -> None:
        begun.append(True)
        await anyio.sleep_forever()

    async with opened(testing.Server()) as ws:
        await ws.accept()
        handle = ws.start_soon(child)
        handle.cancel()
        with pytest.raises(anyio.TaskCancelled):
            await handle
    assert begun == [True]  # up to its first checkpoint, as in any task group


async def test_the_handle_says_how_a_child_has_failed() -> None:
    handles: list[TaskHandle[None]] = []
    error = ValueError("mine")

    async def fail() -> None:
        raise error

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        handles.append(ws.start_soon(fail))
        await anyio.sleep_forever()

    ended = await block(testing.Server(), body)
    assert isinstance(ended.error, ExceptionGroup)
    assert handles[0].exception is error
    assert handles[0].status is TaskHandle.Status.FAILED


# contract: X7
async def test_the_handle_of_a_child_that_let_the_end_escape() -> None:
    server = testing.Server()
    handles: list[TaskHandle[object]] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        handles.append(ws.start_soon(ws.receive))

    assert (await block(server, body, (1, server.peer.close))).error is None
    assert isinstance(handles[0].exception, WebSocketDisconnected)


# contract: C1
async def test_a_handle_and_the_end_cancel_at_the_same_time() -> None:
    """The cancellations that asyncio counts are settled in the child's own task."""
    server = testing.Server()

    async def child() -> None:
        await anyio.sleep_forever()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        handle = ws.start_soon(child)
        await anyio.sleep(1)
        handle.cancel()
        ws.cancel_scope.cancel()

    assert (await block(server, body)).error is None
    await anyio.sleep(1)


async def test_start_gives_the_handle_with_the_value() -> None:
    async def child(text: str, *, task_status: TaskStatus[str]) -> int:
        task_status.started(text)
        await anyio.sleep(1)
        return 1

    async with opened(testing.Server()) as ws:
        await ws.accept()
        assert await ws.start(child, "ready") == "ready"
        handle = await ws.start(child, "ready", name="a name", return_handle=True)
        assert (handle.name, handle.start_value, await handle) == ("a name", "ready", 1)


async def test_a_child_that_is_not_started_leaves_nothing_behind() -> None:
    """Python would warn of a coroutine that was never awaited."""

    class Interrupt(BaseException): ...

    def interrupt(event: Event) -> None:
        if isinstance(event, TaskStarted):
            raise Interrupt

    server = testing.Server()
    with pytest.raises(Interrupt):
        async with opened(server, hooks=[interrupt]) as ws:
            await ws.accept()
            ws.start_soon(ticker, ws)
    assert server.transcript.from_app == []


# contract: L5
async def test_a_handler_that_returns_waits_for_its_children() -> None:
    server = testing.Server()

    async def child(ws: WebSocket) -> None:
        await anyio.sleep(100)
        await ws.send("the last word")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)

    assert (await block(server, body)).error is None
    assert server.transcript.from_app == ["the last word"]
    assert server.transcript.app_close == (1000, "")


@pytest.mark.parametrize("way", ["close", "cancel_scope", "handle"])
async def test_how_to_leave_while_a_child_runs(way: str) -> None:
    server = testing.Server()
    cleaned: list[str] = []

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.append("clean")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        handle = ws.start_soon(child)
        await anyio.sleep(1)
        ws.send_nowait("queued")
        match way:
            case "close":
                await ws.close(4000, "mine")
            case "cancel_scope":
                ws.cancel_scope.cancel()
            case _:
                handle.cancel()

    assert (await block(server, body)).error is None
    assert cleaned == ["clean"]
    assert server.transcript.from_app == ["queued"]
    assert server.transcript.app_close == ((4000, "mine") if way == "close" else (1000, ""))


# contract: L2
@pytest.mark.parametrize("call", ["start_soon", "start"])
async def test_a_child_that_fails_leaves_no_cycle_behind(call: str) -> None:
    """The handle keeps the exception, whose traceback must not lead back to the handle."""
    handles: list[weakref.ref[TaskHandle[Any, Any]]] = []

    async def fail(*, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await anyio.sleep(1)
        raise ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        if call == "start":
            handles.append(weakref.ref(await ws.start(fail, return_handle=True)))
        else:
            handles.append(weakref.ref(ws.start_soon(fail)))
        await anyio.sleep_forever()

    gc.disable()
    try:
        assert isinstance((await block(testing.Server(), body)).error, ExceptionGroup)
        assert [handle() for handle in handles] == [None]
    finally:
        gc.enable()
