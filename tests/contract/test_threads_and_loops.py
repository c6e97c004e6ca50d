"""T5: callbacks of the loop may call what does not wait. Other threads and loops may call nothing.

A thread whose call waits in a block that is cancelled returns.
"""

import asyncio
import contextvars
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from tests.contract._bench import block
from wsnursery import (
    LocalProtocolError,
    Options,
    Room,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
)

PATIENCE = 0.3
"""Real seconds after which a call from another loop that was not refused is abandoned."""


def call_soon(callback: Callable[[], object]) -> None:
    """Let the event loop call a plain function, with no task around it."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import trio

        trio.lowlevel.current_trio_token().run_sync_soon(callback)
    else:
        # As in protocols and drivers that do not use anyio.
        loop.call_soon(callback, context=contextvars.Context())


def by_a_future(callback: Callable[[], object]) -> None:
    """As ``add_done_callback`` does."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda _: callback(), context=contextvars.Context())
    future.set_result(None)


class Said:
    """What a callback returned or raised."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self.results: list[object] = []
        self.done = anyio.Event()

    def __call__(self) -> None:
        try:
            self.results.append(self._call())
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            self.results.append(exc)
        self.done.set()


async def called(how: Callable[[Callable[[], object]], None], call: Callable[[], object]) -> object:
    """Let a callback make the call, and wait until it has."""
    said = Said(call)
    how(said)
    await said.done.wait()
    return said.results[0]


QUIET = [0.0, 0.2, 100.0]
"""Seconds without a message: a sender's task may or may not live."""


async def member(room: Room, server: testing.Server, joined: anyio.Event) -> None:
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        await ws.accept()
        with room.joined(ws):
            joined.set()
            async for _ in ws:
                pass


# contract: T5
async def test_a_callback_publishes_to_every_member() -> None:
    for quiet in QUIET:
        room, servers = Room("news"), [testing.Server() for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for server in servers:
                joined = anyio.Event()
                tasks.start_soon(member, room, server, joined)
                await joined.wait()
            await anyio.sleep(quiet)
            for number in range(3):
                text = f"message {number}"
                assert await called(call_soon, partial(room.publish, text)) == 3
                assert [await server.peer.receive() for server in servers] == [text] * 3
            for server in servers:
                server.peer.close()
        assert room.statistics().published == 3
        assert room.statistics().queued == 9


# contract: T5
async def test_a_callback_sends() -> None:
    for quiet in QUIET:
        server = testing.Server()

        async def body(
            ws: WebSocket, server: testing.Server = server, quiet: float = quiet
        ) -> None:
            await ws.accept()
            await anyio.sleep(quiet)
            assert await called(call_soon, lambda: ws.send_nowait("from a callback")) is None
            await ws.send("from the task")
            assert await server.peer.receive() == "from a callback"
            assert await server.peer.receive() == "from the task"

        ended = await block(server, body)
        assert ended.error is None


# contract: T5
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_done_callback_sends() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep(0.2)
        assert await called(by_a_future, lambda: ws.send_nowait("done")) is None
        assert await server.peer.receive() == "done"

    ended = await block(server, body)
    assert ended.error is None


# contract: T5
async def test_a_callback_starts_a_child() -> None:
    server, ran = testing.Server(), anyio.Event()

    async def child() -> None:
        ran.set()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        result = await called(call_soon, lambda: ws.start_soon(child))
        assert not isinstance(result, Exception), result
        await ran.wait()

    ended = await block(server, body)
    assert ended.error is None


# contract: T5
async def test_a_callback_asks_for_the_facts() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        statistics: Any = await called(call_soon, ws.statistics)
        assert statistics.messages_sent == 0
        assert await called(call_soon, lambda: ws.state) == "open"

    ended = await block(server, body)
    assert ended.error is None


# ------------------------------------------------------------------ other threads and other loops


async def nothing() -> None:
    """A child."""


SYNCHRONOUS: dict[str, Callable[[WebSocket, Room], object]] = {
    "send_nowait": lambda ws, _: ws.send_nowait("x"),
    "start_soon": lambda ws, _: ws.start_soon(nothing),
    "publish": lambda _, room: room.publish("x"),
}

WAITING: dict[str, Callable[[WebSocket], Coroutine[Any, Any, object]]] = {
    "send": lambda ws: ws.send("x"),
    "send_json": lambda ws: ws.send_json("x"),
    "flush": lambda ws: ws.flush(),
    "receive": lambda ws: ws.receive(),
    "close": lambda ws: ws.close(4000),
    "start": lambda ws: ws.start(nothing),
}


async def in_a_thread(work: Callable[[], object]) -> object:
    """The results and exceptions of a foreign thread, which has no event loop."""
    results: list[object] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as exc:  # noqa: BLE001 - the test looks at it
            results.append(exc)

    def run_and_wait() -> None:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(3 * PATIENCE)

    await anyio.to_thread.run_sync(run_and_wait)
    return results[0] if results else "it waits for ever"


def problem_of(result: object) -> str:
    """Describe what is wrong with the result of a call that should have been refused."""
    if not isinstance(result, RuntimeError | LocalProtocolError):
        return f"it was not refused: {result!r}"
    said = str(result).replace(",", " ").split()
    return "" if {"thread", "loop"} & set(said) else f"it does not say why: {result}"


# contract: T5
@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("name", ["send_nowait", "publish"])
async def test_another_thread_is_refused(name: str, warm: bool) -> None:
    await refused(name, warm)


# contract: T5
@pytest.mark.parametrize("warm", [False, True])
async def test_another_thread_cannot_start_a_child(warm: bool) -> None:
    await refused("start_soon", warm)


async def refused(name: str, warm: bool) -> None:
    """The call is refused, nothing is queued, and the connection is not affected."""
    server, room = testing.Server(), Room("news")
    problems: list[str] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with room.joined(ws):
            if warm:
                await ws.send("warm")
                assert await server.peer.receive() == "warm"
            result = await in_a_thread(lambda: SYNCHRONOUS[name](ws, room))
            problems.append(problem_of(result))
            assert ws.statistics().send_buffer_used == 0
            await ws.send("the next message")
            assert await server.peer.receive() == "the next message"
            assert room.publish("published") == 1
            assert await server.peer.receive() == "published"

    ended = await block(server, body)
    assert ended.error is None
    assert problems == [""]


OTHER_LOOP = """
import faulthandler, sys
import anyio
from tests.contract.test_threads_and_loops import SYNCHRONOUS, WAITING, in_a_thread, problem_of
from wsnursery import Room, open_websocket, testing

faulthandler.dump_traceback_later(10, exit=True)  # a call that was not refused may do anything
backend, library = sys.argv[1:]

async def refused(name, warm):
    server, room = testing.Server(), Room("news")
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        await ws.accept()
        with room.joined(ws):
            if warm:
                await ws.send("warm")
                assert await server.peer.receive() == "warm"

            async def call():
                with anyio.fail_after(0.3):
                    if name in WAITING:
                        return await WAITING[name](ws)
                    return SYNCHRONOUS[name](ws, room)

            result = await in_a_thread(lambda: anyio.run(call, backend=library))
            assert problem_of(result) == "", name
            assert ws.statistics().send_buffer_used == 0
            await ws.send("the next message")
            assert await server.peer.receive() == "the next message"
            assert room.publish("published") == 1
            assert await server.peer.receive() == "published"

async def main():
    for name in [*WAITING, *SYNCHRONOUS]:
        await refused(name, warm=False)
        await refused(name, warm=True)
    print("unharmed")

anyio.run(main, backend=backend)
"""


# contract: T5
@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_another_event_loop_is_refused(anyio_backend_name: str, library: str) -> None:
    """Run it in its own process, because a call that is not refused may do anything."""
    done = subprocess.run(
        [sys.executable, "-c", OTHER_LOOP, anyio_backend_name, library],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout == "unharmed\n", done.stderr


# contract: T5
async def test_a_room_refuses_a_publish_for_all_its_members() -> None:
    room, servers = Room("news"), [testing.Server() for _ in range(3)]
    async with anyio.create_task_group() as tasks:
        for server in servers:
            joined = anyio.Event()
            tasks.start_soon(member, room, server, joined)
            await joined.wait()
        result = await in_a_thread(lambda: room.publish("from a thread"))
        assert isinstance(result, RuntimeError | LocalProtocolError)
        assert room.statistics().published == room.statistics().queued == 0
        assert room.publish("from the loop") == 3
        assert [await server.peer.receive() for server in servers] == ["from the loop"] * 3
        for server in servers:
            server.peer.close()


# ------------------------------------------------------- a thread that calls into a cancelled block


# contract: L2, S8
@pytest.mark.parametrize("name", ["send", "receive", "flush"])
async def test_the_call_of_a_worker_thread_in_a_cancelled_block_comes_back(name: str) -> None:
    await thread_calls_late(name)


# contract: L2, S8
async def test_the_close_of_a_worker_thread_comes_back() -> None:
    await thread_calls_late("close")


async def thread_calls_late(name: str) -> None:
    server, go_on = testing.Server(), threading.Event()
    result: list[object] = []

    def work(ws: WebSocket) -> None:
        assert go_on.wait(10)
        try:
            result.append(anyio.from_thread.run(WAITING[name], ws))
        except BaseException as exc:  # noqa: BLE001 - a cancellation is not an `Exception`
            result.append(exc)

    with suppress(WebSocketDisconnected):
        async with open_websocket(
            server.scope, server.receive, server.send, options=Options(grace_period=0.1)
        ) as ws:
            await ws.accept()

            async def peer() -> None:
                await anyio.sleep(1)
                server.peer.close(1001)

            async def late() -> None:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(2)
                    go_on.set()

            ws.start_soon(peer)
            ws.start_soon(late)
            await anyio.to_thread.run_sync(work, ws)
    assert len(result) == 1
