"""B: trio, asyncio, uvloop, guest mode and native cancellation, with one code path."""

import ast
import asyncio
import queue
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

import wsnursery
from tests.contract._bench import about, block, closes
from wsnursery import WebSocket, WebSocketDisconnected, open_websocket, testing

PACKAGE = Path(wsnursery.__file__).parent


def imported(path: Path) -> set[str]:
    """The first name of everything that a module imports from outside the package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


# contract: B1
def test_what_a_backend_needs_is_not_spread() -> None:
    """The wake-ups of both, and native cancellation, which only asyncio has."""
    core = [*PACKAGE.glob("_*.py"), *PACKAGE.glob("_engine/*.py"), *PACKAGE.glob("asgi/*.py")]
    outside = [path.name for path in core if imported(path) & {"trio", "asyncio"}]
    assert outside == []
    assert any(imported(path) & {"trio", "asyncio"} for path in PACKAGE.glob("_backend/*.py"))


# contract: B1
async def test_the_same_conversation_on_both() -> None:
    """This test runs on both backends, with the same expectation."""
    server = testing.Server(personality=testing.UVICORN)

    async def child(ws: WebSocket) -> None:
        while True:
            await ws.send("tick")
            await anyio.sleep(1)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        async for message in ws:
            await ws.send(message)

    def say() -> None:
        server.peer.send_nowait("hello")

    ended = await block(server, body, (1.5, say), (2.5, lambda: server.peer.close(4001, "bye")))
    assert ended.error is None
    assert ended.at == about(2.5)
    assert server.transcript.lines == [
        "app connect",
        "app accept",
        "app send 'tick'",
        "app send 'tick'",
        "peer send 'hello'",
        "app receive 'hello'",
        "app send 'hello'",
        "app send 'tick'",
        "peer close 4001 bye",
        "app disconnect 4001 bye",
    ]


# B2: every way to run it. These run in real time, and need some milliseconds of it.


async def conversation(way: str) -> None:
    """Open, talk, and end in one way. Fail if anything is wrong."""
    cause = OSError("mine")
    server = testing.Server()
    ran: list[str] = []

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ran.append("child")

    async def talk() -> None:
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
            ws.start_soon(child)
            server.peer.send_nowait("hello")
            await ws.send(await ws.receive())
            assert await server.peer.receive() == "hello"
            if way == "vanish":
                server.peer.vanish()
                await ws.receive()
            elif way == "break":
                with server.inject(testing.FailSend(1, cause)):
                    await ws.send("x")
            elif way == "cancel":
                scope.deadline = anyio.current_time() + 0.02
                await anyio.sleep_forever()
            ws.cancel_scope.cancel()

    with anyio.move_on_after(5) as scope:
        if way in ("vanish", "break"):
            with pytest.raises(WebSocketDisconnected) as caught:
                await talk()
            assert caught.value.__cause__ is (cause if way == "break" else None)
        else:
            await talk()
            assert way == "return"
    assert scope.cancelled_caught == (way == "cancel")
    assert ran == ["child"]
    assert server.transcript.violations == []
    expected = {"return": ["app close 1000"], "cancel": ["app close 1001"]}
    assert [line[:14] for line in closes(server)] == expected.get(way, [])


WAYS = pytest.mark.parametrize("way", ["return", "vanish", "break", "cancel"])


# contract: B2
@WAYS
def test_trio_run(way: str) -> None:
    trio = pytest.importorskip("trio")
    trio.run(conversation, way)


# contract: B2
@WAYS
@pytest.mark.parametrize("debug", [False, True])
def test_asyncio_run(way: str, debug: bool) -> None:
    asyncio.run(conversation(way), debug=debug)


# contract: B2
@WAYS
def test_uvloop(way: str) -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed here")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(conversation(way))


# contract: B2
@pytest.mark.parametrize("factory", ["eager", "lazy"])
@WAYS
def test_eager_tasks(way: str, factory: str) -> None:
    eager = getattr(asyncio, "eager_task_factory", None)
    if eager is None:
        pytest.skip("eager tasks came with CPython 3.12")

    async def main() -> None:
        if factory == "eager":
            asyncio.get_running_loop().set_task_factory(eager)
        await conversation(way)

    asyncio.run(main())


def run_as_guest(trio: Any, main: Callable[..., Awaitable[None]], *args: object) -> None:
    """Run trio as a guest of asyncio."""

    async def host() -> None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            main,
            *args,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=done.set_result,
        )
        (await done).unwrap()

    asyncio.run(host())


# contract: B2
@WAYS
def test_guest_mode_inside_asyncio(way: str) -> None:
    run_as_guest(pytest.importorskip("trio"), conversation, way)


# contract: B2
@WAYS
def test_guest_mode_inside_another_loop(way: str) -> None:
    """A host loop of an unknown kind."""
    trio = pytest.importorskip("trio")
    todo: queue.Queue[Callable[[], Any]] = queue.Queue()
    outcomes: list[Any] = []
    trio.lowlevel.start_guest_run(
        conversation,
        way,
        run_sync_soon_threadsafe=todo.put,
        done_callback=outcomes.append,
        host_uses_signal_set_wakeup_fd=True,
    )
    while not outcomes:
        todo.get(timeout=10)()
    outcomes[0].unwrap()


# contract: B2, X5
@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_a_task_that_is_cancelled_natively(library: str) -> None:
    loop_factory = None
    if library == "uvloop":
        loop_factory = pytest.importorskip("uvloop", reason="no uvloop here").new_event_loop

    async def main() -> None:
        server, is_open = testing.Server(), asyncio.Event()

        async def handler() -> None:
            async with open_websocket(server.scope, server.receive, server.send) as ws:
                await ws.accept()
                ws.start_soon(anyio.sleep_forever)
                is_open.set()
                await ws.receive()

        task = asyncio.create_task(handler())
        await is_open.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert [line[:14] for line in closes(server)] == ["app close 1001"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


# contract: B2, X6
def test_control_c_in_the_middle() -> None:
    """asyncio.run cancels the main task, the client gets a 1001, KeyboardInterrupt leaves."""
    server = testing.Server()

    async def main() -> None:
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
            asyncio.get_running_loop().call_later(0.01, signal.raise_signal, signal.SIGINT)
            await ws.receive()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert [line[:14] for line in closes(server)] == ["app close 1001"]
