"""X9: a raw call that ends with a `BaseException` settles what was in flight."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import pytest

from tests.contract._bench import BACKENDS, checkpoints, leaves, on, run
from wsnursery import Options, WebSocket, WebSocketDisconnected, open_websocket, testing
from wsnursery.hooks import Hook


@dataclass(frozen=True)
class FailLate(testing.Fault):
    """A raw send raises, at once or after it has waited."""

    number: int
    error: BaseException
    checkpoints: int = 0

    async def on_send(self, peer: testing.Peer, number: int, event: Any) -> None:
        if number == self.number:
            await checkpoints(self.checkpoints)
            raise self.error


class Stop(SystemExit):
    """Distinguishable."""


def counts_are_right(ws: WebSocket) -> None:
    """No counter is negative, nothing is left, and `repr` works."""
    statistics = ws.statistics()
    assert statistics.send_buffer_used == 0
    assert statistics.send_buffer_used_bytes == 0
    assert statistics.tasks_waiting_send == 0
    assert "0 unsent" in repr(ws)


async def by_send(ws: WebSocket) -> None:
    await ws.send("x")


async def by_send_nowait(ws: WebSocket) -> None:
    ws.send_nowait("x")
    await anyio.sleep(1)


async def by_a_child(ws: WebSocket) -> None:
    ws.start_soon(ws.send, "x")
    await anyio.sleep(1)


async def by_flush(ws: WebSocket) -> None:
    ws.send_nowait("x")
    await ws.flush()


WAYS = (by_send, by_send_nowait, by_a_child, by_flush)


def ignore(_event: object, /) -> None:
    """A hook."""


# contract: X9, X6
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, Stop, GeneratorExit])
def test_the_interrupt_leaves_as_itself_and_the_counts_are_right(
    backend: str, kind: type[BaseException]
) -> None:
    problems = []
    for way in WAYS:
        for hooks in list[list[Hook]](([], [ignore])):
            for late in (0, 1, 3):
                for answers in (True, False):
                    faults = [FailLate(2, kind(), late)]
                    server = testing.Server(faults=faults, answers_close=answers)
                    problem = interrupted(backend, server, kind, way, hooks)
                    if problem:
                        case = f"{way.__name__}, {len(hooks)} hooks, {late} late, {answers=}"
                        problems.append(f"{case}: {problem}")
    assert problems == []


def interrupted(
    backend: str,
    server: testing.Server,
    kind: type[BaseException],
    way: Callable[[WebSocket], Awaitable[None]],
    hooks: Sequence[Hook],
) -> str:
    """Let the raw send of a message raise. Return what was wrong."""
    made: list[WebSocket] = []

    async def main() -> None:
        ws = websocket_on(server, hooks)
        made.append(ws)
        async with ws:
            await ws.accept()
            await way(ws)

    try:
        run(backend, main)
    except BaseException as exc:  # noqa: BLE001 - it is looked at
        if [type(leaf) for leaf in leaves(exc)] != [kind]:
            return f"{exc!r} left"
    else:
        return "it was swallowed"
    try:
        counts_are_right(made[0])
    except (AssertionError, ValueError) as exc:
        return repr(exc)
    return ""


def websocket_on(server: testing.Server, hooks: Sequence[Hook] = ()) -> WebSocket:

    options = Options(hooks=hooks)
    return open_websocket(server.scope, server.receive, server.send, options=options)


# contract: X9
@on("asyncio")
@pytest.mark.parametrize("error", [OSError, LookupError])
async def test_the_counts_are_right_when_the_loop_ends_while_a_failed_send_is_judged(
    error: type[Exception],
) -> None:
    """At its end, asyncio cancels all tasks in any order: the sender task may be the first."""
    unsent: list[int] = []
    before = asyncio.all_tasks()
    for turns in range(20):
        server = testing.Server(faults=[FailLate(2, error("late"), 1)])
        ws = websocket_on(server)
        begun = anyio.Event()
        handler = asyncio.create_task(sends_beside_a_reader(ws, begun))
        await begun.wait()
        await checkpoints(turns)
        made = asyncio.all_tasks() - before
        for task in sorted(made, key=lambda task: "sender" not in task.get_name()):
            task.add_done_callback(partial(note_unsent, ws, unsent))
            task.cancel()
        await asyncio.gather(handler, *made, return_exceptions=True)
        counts_are_right(ws)
    assert min(unsent) == 0


def note_unsent(ws: WebSocket, unsent: list[int], _ended: "asyncio.Task[object]") -> None:
    unsent.append(ws.statistics().send_buffer_used)


async def sends_beside_a_reader(ws: WebSocket, begun: anyio.Event) -> None:
    async with ws:
        await ws.accept()
        ws.start_soon(ws.receive)
        await checkpoints(3)
        begun.set()
        await ws.send("x")


class Foreign:
    """A server whose raw send waits for a future that other code cancels."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.server = testing.Server()

    async def send(self, event: Any) -> None:
        if event["type"] == "websocket.send":
            await self.future
        await self.server.send(event)


async def until_it_ends(task: "asyncio.Task[object]", seconds: float = 60) -> str:
    """How a task ended: the name of its exception, or "returned"."""
    done, _ = await asyncio.wait([task], timeout=seconds)
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=1)
        return "still waiting"
    if task.cancelled():
        return "CancelledError"
    error = task.exception()
    return "returned" if error is None else type(error).__name__


# contract: X9, L2
@on("asyncio")
@pytest.mark.parametrize("waiting", [1, 2, 5])
async def test_a_foreign_cancellation_in_the_raw_send_wakes_every_waiter(waiting: int) -> None:
    foreign = Foreign()
    box: asyncio.Future[WebSocket] = asyncio.get_running_loop().create_future()

    async def handler() -> None:
        async with open_websocket(foreign.server.scope, foreign.server.receive, foreign.send) as ws:
            await ws.accept()
            box.set_result(ws)
            await asyncio.sleep(3600)

    handling = asyncio.create_task(handler())
    ws = await box
    strangers = [asyncio.create_task(ws.send(str(number))) for number in range(waiting)]
    await asyncio.sleep(1)
    foreign.future.cancel()
    ends = [await until_it_ends(stranger) for stranger in strangers]
    # The task that made the raw call gets the cancellation. For the others the connection has
    # ended.
    assert ends[0] in {"CancelledError", "WebSocketDisconnected", "ClosedResourceError"}
    assert set(ends[1:]) <= {"WebSocketDisconnected", "ClosedResourceError"}
    handling.cancel()
    assert await until_it_ends(handling) != "still waiting"
    counts_are_right(ws)
    assert foreign.server.transcript.violations == []


# contract: X9, X5
@on("asyncio")
async def test_a_foreign_cancellation_in_the_send_of_the_body_leaves_as_itself() -> None:
    foreign = Foreign()
    made: list[WebSocket] = []

    async def handler() -> None:
        ws = open_websocket(foreign.server.scope, foreign.server.receive, foreign.send)
        made.append(ws)
        async with ws:
            await ws.accept()
            await ws.send("x")

    handling = asyncio.create_task(handler())
    await asyncio.sleep(1)
    foreign.future.cancel()
    assert await until_it_ends(handling) == "CancelledError"
    assert handling.cancelling() == 0
    counts_are_right(made[0])


# contract: X9
@on("asyncio")
async def test_a_foreign_cancellation_in_the_raw_receive_does_not_hang() -> None:
    server = testing.Server()
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    calls = 0

    async def receive() -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            await future
        return await server.receive()

    async def handler() -> None:
        async with open_websocket(server.scope, receive, server.send) as ws:
            await ws.accept()
            await ws.receive()

    handling = asyncio.create_task(handler())
    await asyncio.sleep(1)
    future.cancel()
    assert await until_it_ends(handling) != "still waiting"


# contract: X9, D1
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, Stop])
def test_an_interrupt_in_the_raw_receive_leaves_as_itself(
    backend: str, kind: type[BaseException]
) -> None:
    error = kind()
    for number in (1, 2, 3):
        server = testing.Server(faults=[testing.FailReceive(number, error)])
        made: list[WebSocket] = []

        async def main(server: testing.Server = server, made: list[WebSocket] = made) -> None:
            ws = websocket_on(server)
            made.append(ws)
            async with ws:
                await ws.accept()
                await server.peer.send("x")
                with suppress(WebSocketDisconnected):
                    while True:
                        await ws.receive()

        with pytest.raises(BaseException) as caught:  # noqa: PT011 - the type is checked below
            run(backend, main)
        assert leaves(caught.value) == [error]
        counts_are_right(made[0])
