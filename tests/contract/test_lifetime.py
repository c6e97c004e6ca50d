"""L: entering, leaving, and what is left behind."""

import gc
import inspect
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.contract._bench import (
    BACKENDS,
    Log,
    about,
    block,
    closes,
    notified_by,
    run,
)
from wsnursery import Options, WebSocket, WebSocketDisconnected, open_websocket, testing

pytestmark = pytest.mark.usefixtures("over_both_paths")


def opened(server: testing.Server, **options: Any) -> Any:
    return open_websocket(server.scope, server.receive, server.send, options=Options(**options))


class Token:
    """An object whose deallocation can be observed."""


class Note(str):
    """A message whose deallocation can be observed."""

    __slots__ = ("__weakref__",)


# contract: L1
@pytest.mark.parametrize("kind", ["http", "lifespan", "webtransport"])
async def test_a_scope_that_is_not_a_websocket(kind: str) -> None:
    server = testing.Server(scope={"type": kind})
    with pytest.raises(ValueError, match="websocket.*" + kind):
        open_websocket(server.scope, server.receive, server.send)
    assert server.transcript.lines == []


# contract: L1
async def test_a_second_entry_after_the_first() -> None:
    server = testing.Server()
    once = opened(server)
    async with once as ws:
        await ws.accept()
    before = server.transcript.lines
    with pytest.raises(RuntimeError, match="open_websocket"):
        async with once:
            pytest.fail("entered twice")
    assert server.transcript.lines == before


# contract: L1
async def test_a_second_entry_inside_the_first() -> None:
    server = testing.Server()
    once = opened(server)
    async with once as ws:
        await ws.accept()
        with pytest.raises(RuntimeError, match="open_websocket"):
            async with once:
                pytest.fail("entered twice")
        await ws.send("still here")
    assert server.transcript.from_app == ["still here"]
    assert closes(server) == ["app close 1000"]


BEFORE: dict[str, Callable[[Any], Any]] = {
    "accept": lambda ws: ws.accept(),
    "reject": lambda ws: ws.reject(),
    "send": lambda ws: ws.send("x"),
    "send_json": lambda ws: ws.send_json({}),
    "send_nowait": lambda ws: ws.send_nowait("x"),
    "flush": lambda ws: ws.flush(),
    "receive": lambda ws: ws.receive(),
    "async for": lambda ws: anext(aiter(ws)),
    "close": lambda ws: ws.close(),
    "start": lambda ws: ws.start(anyio.sleep_forever),
    "start_soon": lambda ws: ws.start_soon(anyio.sleep_forever),
    "cancel_scope": lambda ws: ws.cancel_scope,
}


# contract: L1
@pytest.mark.parametrize("name", BEFORE)
async def test_use_before_entry_says_what_to_do(name: str) -> None:
    server = testing.Server()
    with (
        anyio.fail_after(1),
        pytest.raises((RuntimeError, AttributeError), match="async with"),
    ):
        result = BEFORE[name](opened(server))
        if inspect.isawaitable(result):
            await result
    assert server.transcript.lines == []


# contract: L1
async def test_a_websocket_is_made_by_the_library_alone() -> None:
    with pytest.raises(TypeError, match="open_websocket"):
        WebSocket()


async def returns(ws: WebSocket) -> None:
    await ws.accept()


async def fails(ws: WebSocket) -> None:
    await ws.accept()
    raise ValueError("mine")


async def never_accepts(ws: WebSocket) -> None:
    await anyio.lowlevel.checkpoint()


async def is_cut_short(ws: WebSocket) -> None:
    await ws.accept()
    await anyio.sleep_forever()


async def reads(ws: WebSocket) -> None:
    await ws.accept()
    async for _ in ws:
        pass


async def lets_it_escape(ws: WebSocket) -> None:
    await ws.accept()
    while True:
        await ws.receive()


async def closes_itself(ws: WebSocket) -> None:
    await ws.accept()
    await ws.close(1000)


async def child_fails(ws: WebSocket) -> None:
    await ws.accept()

    async def child(_token: Token) -> None:
        raise ValueError("mine")

    ws.start_soon(child, Token())
    await anyio.sleep_forever()


async def child_is_cut_short(ws: WebSocket) -> None:
    await ws.accept()
    ws.start_soon(anyio.sleep_forever)
    ws.start_soon(reads_on, ws)
    await anyio.sleep_forever()


async def reads_on(ws: WebSocket) -> None:
    async for _ in ws:
        pass


async def groups_inside(ws: WebSocket) -> None:
    await ws.accept()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lets_it_escape_again, ws)
        await anyio.sleep_forever()


async def lets_it_escape_again(ws: WebSocket) -> None:
    await ws.receive()


async def queues(ws: WebSocket) -> None:
    await ws.accept()
    for number in range(5):
        ws.send_nowait(str(number))


LEFT: list[Callable[[WebSocket], Awaitable[None]]] = [
    returns,
    fails,
    never_accepts,
    is_cut_short,
    reads,
    lets_it_escape,
    closes_itself,
    child_fails,
    child_is_cut_short,
    groups_inside,
    queues,
]


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# contract: L2
@pytest.mark.parametrize("faults", [[], [testing.FailSend(2, OSError)]], ids=["", "broken"])
@pytest.mark.parametrize("body", LEFT, ids=lambda body: body.__name__)
async def test_the_frame_of_the_handler_is_freed_at_once(
    no_gc: None, body: Callable[[WebSocket], Awaitable[None]], faults: list[testing.Fault]
) -> None:
    server = testing.Server(faults=faults)
    deaths: list[weakref.ref[Any]] = []

    async def handler() -> None:
        token = Token()
        deaths.append(weakref.ref(token))
        async with opened(server) as ws:
            deaths.append(weakref.ref(ws))
            ws.start_soon(hold, token)
            await body(ws)

    async def hold(_token: Token) -> None:
        await anyio.sleep(2)

    async def leave() -> None:
        await anyio.sleep(1)
        server.peer.vanish()

    async with anyio.create_task_group() as outside:
        outside.start_soon(leave)
        with suppress(Exception):
            await handler()
    await anyio.lowlevel.checkpoint()
    assert [death() for death in deaths] == [None, None]


# contract: L2
async def test_the_frame_of_a_cancelled_handler_is_freed_at_once(no_gc: None) -> None:
    deaths: list[weakref.ref[Any]] = []

    async def handler() -> None:
        token = Token()
        deaths.append(weakref.ref(token))
        server = testing.Server()
        async with opened(server) as ws:
            deaths.append(weakref.ref(ws))
            await ws.accept()
            ws.start_soon(anyio.sleep_forever)
            await ws.receive()

    with anyio.move_on_after(1):
        await handler()
    await anyio.lowlevel.checkpoint()
    assert [death() for death in deaths] == [None, None]


# contract: L2
@pytest.mark.parametrize("way", ["own close", "broken", "cancelled"])
async def test_no_buffered_message_is_left(no_gc: None, way: str) -> None:
    deaths: list[weakref.ref[Any]] = []
    stalled = [testing.StallSend(2)]
    server = testing.Server(faults=stalled)
    incoming = ["1", "2", "3"]

    def watched(text: str) -> Note:
        note = Note(text)
        deaths.append(weakref.ref(note))
        return note

    async def receive() -> Any:
        event = dict(await server.receive())
        if "text" in event:
            event["text"] = watched(event["text"])
        return event

    for text in incoming:
        server.peer.send_nowait(text)
    with anyio.move_on_after(40) as scope, suppress(WebSocketDisconnected):
        async with open_websocket(server.scope, receive, server.send) as ws:
            await ws.accept()
            for text in "abc":
                ws.send_nowait(watched(text))
            await anyio.sleep(1)
            if way == "own close":
                await ws.close()
            elif way == "broken":
                await anyio.sleep_forever()
            else:
                scope.cancel()
                await anyio.sleep_forever()
    statistics = ws.statistics()
    assert statistics.receive_buffer_used == statistics.receive_buffer_used_bytes == 0
    assert statistics.send_buffer_used == statistics.send_buffer_used_bytes == 0
    assert statistics.tasks_waiting_send == 0
    assert len(deaths) == 6
    assert [death() for death in deaths] == [None] * 6


# contract: L2
@pytest.mark.parametrize("way", ["normal end", "disconnect", "own close", "cancelled"])
async def test_no_waiter_is_left(way: str) -> None:
    """Tasks of other connections that wait on this connection are woken."""
    server = testing.Server(faults=[testing.StallSend(2)])
    ends: dict[str, type[BaseException]] = {}

    async def wait(name: str, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            ends[name] = type(exc)

    async with anyio.create_task_group() as outside:
        with anyio.CancelScope() as scope, suppress(WebSocketDisconnected):
            async with opened(server) as ws:
                await ws.accept()
                outside.start_soon(wait, "send", lambda: ws.send("x"))
                await anyio.wait_all_tasks_blocked()
                outside.start_soon(wait, "flush", ws.flush)
                outside.start_soon(wait, "receive", ws.receive)
                await anyio.wait_all_tasks_blocked()
                if way == "disconnect":
                    server.peer.vanish()
                    await anyio.sleep_forever()
                if way == "own close":
                    await ws.close()
                if way == "cancelled":
                    scope.cancel()
                    await anyio.sleep_forever()
        await anyio.sleep(1)
        outside.cancel_scope.cancel()
    assert set(ends) == {"send", "flush", "receive"}
    assert set(ends.values()) <= {WebSocketDisconnected, anyio.ClosedResourceError}


# contract: L2
@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda p: p.name)
async def test_no_task_is_left(personality: testing.Personality) -> None:
    """As `block` checks it, here on every server, with every task busy."""
    server = testing.Server(personality=personality)

    async def child(ws: WebSocket) -> None:
        while True:
            await ws.send("tick")
            await anyio.sleep(1)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        ws.start_soon(anyio.sleep_forever)
        async for _ in ws:
            pass

    ended = await block(server, body, (3.5, server.peer.vanish))
    assert ended.error is None
    assert ended.at == about(3.5)


AFTER: dict[str, Callable[[WebSocket], Any]] = {
    "accept": lambda ws: ws.accept(),
    "reject": lambda ws: ws.reject(),
    "send": lambda ws: ws.send("x"),
    "send_json": lambda ws: ws.send_json({}),
    "send_nowait": lambda ws: ws.send_nowait("x"),
    "flush": lambda ws: ws.flush(),
    "receive": lambda ws: ws.receive(),
    "receive_text": lambda ws: ws.receive_text(),
    "receive_bytes": lambda ws: ws.receive_bytes(),
    "receive_json": lambda ws: ws.receive_json(),
    "async for": lambda ws: anext(aiter(ws)),
    "close": lambda ws: ws.close(),
    "start": lambda ws: ws.start(anyio.sleep_forever),
    "start_soon": lambda ws: ws.start_soon(anyio.sleep_forever),
    "cancel_scope": lambda ws: ws.cancel_scope,
}


# contract: L3
@pytest.mark.parametrize("body", [returns, lets_it_escape, closes_itself, never_accepts, fails])
@pytest.mark.parametrize("name", AFTER)
async def test_methods_after_the_block(
    name: str, body: Callable[[WebSocket], Awaitable[None]]
) -> None:
    server = testing.Server()
    kept: list[WebSocket] = []

    async def keep(ws: WebSocket) -> None:
        kept.append(ws)
        await body(ws)

    await block(server, keep, (1, server.peer.vanish))
    before = server.transcript.lines
    with pytest.raises(anyio.ClosedResourceError):
        result = AFTER[name](kept[0])
        if inspect.isawaitable(result):
            await result
    assert server.transcript.lines == before


# contract: L4
async def test_entering_does_not_accept() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await anyio.sleep(1)
        assert not server.peer.accepted
        assert set(server.transcript.lines) <= {"app connect"}

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.lines == ["app connect", "app deny 403"]


# contract: L4
async def test_leaving_at_once_denies() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        pass

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == ["app deny 403"]


# contract: L4, X1
async def test_failing_before_accept_denies() -> None:
    server = testing.Server()
    mine = ValueError("mine")

    async def body(ws: WebSocket) -> None:
        raise mine

    ended = await block(server, body)
    assert ended.error is mine
    assert len(closes(server)) == 1
    assert closes(server)[0].startswith("app deny")


# contract: L5
async def test_the_block_waits_for_its_children() -> None:
    server = testing.Server()

    async def child(ws: WebSocket, seconds: float) -> None:
        await anyio.sleep(seconds)
        await ws.send(f"after {seconds:g}")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws, 100)
        ws.start_soon(child, ws, 200)

    ended = await block(server, body)
    assert ended.error is None
    assert ended.at == about(200)
    assert server.transcript.from_app == ["after 100", "after 200"]
    assert closes(server) == ["app close 1000"]


# contract: L5
async def test_a_grandchild_is_waited_for_too() -> None:
    server = testing.Server()

    async def grandchild(ws: WebSocket) -> None:
        await anyio.sleep(10)
        await ws.send("last")

    async def child(ws: WebSocket) -> None:
        await anyio.sleep(10)
        ws.start_soon(grandchild, ws)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)

    ended = await block(server, body)
    assert ended.at == about(20)
    assert server.transcript.from_app == ["last"]


# contract: L5
async def test_start_gives_the_value_and_the_block_waits() -> None:
    server = testing.Server()

    async def child(ws: WebSocket, *, task_status: Any) -> None:
        await anyio.sleep(1)
        task_status.started("ready")
        await anyio.sleep(1)
        await ws.send("done")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        assert await ws.start(child, ws) == "ready"
        assert anyio.current_time() == 1

    ended = await block(server, body)
    assert ended.at == about(2)
    assert server.transcript.from_app == ["done"]


# contract: L5
async def test_children_that_never_read_end_with_the_connection() -> None:
    """A reader is still busy, but the body has finished: the block does not wait for the
    sleeper."""
    server = testing.Server()
    log = Log()

    async def reader(ws: WebSocket) -> None:
        async for _ in ws:
            await anyio.sleep(4)
        log.note("reader")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(reader, ws)
        ws.start_soon(log.sleeper)

    server.peer.send_nowait("a")
    ended = await block(server, body, (3, server.peer.vanish))
    assert log.moments == {"sleeper": 3, "reader": 4}
    assert ended.error is None
    assert ended.at == about(4)


# contract: L5
async def test_a_notified_child_keeps_the_rest_of_the_grace_period() -> None:
    server = testing.Server()
    log = Log()

    async def notified(ws: WebSocket, name: str, seconds: float) -> None:
        try:
            async for _ in ws:
                pass
            await anyio.sleep(seconds)
        finally:
            log.note(name)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(notified, ws, "slow", 100)

    ended = await block(server, body, (3, server.peer.vanish), grace_period=7)
    assert log.moments == {"slow": 10}
    assert ended.at == about(10)
    assert ended.error is None


# contract: L5
async def test_children_end_with_your_own_close() -> None:
    server = testing.Server()
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)
        await anyio.sleep(3)
        await ws.close(4000)

    ended = await block(server, body)
    assert ended.error is None
    assert log.moments == {"sleeper": 3}
    assert ended.at == about(3)
    assert closes(server) == ["app close 4000"]


# contract: L5, C5
async def test_children_end_with_your_own_close_that_is_not_answered() -> None:
    server = testing.Server(answers_close=False)
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)
        await ws.close(4000)

    ended = await block(server, body)
    assert ended.error is None
    assert log.moments["sleeper"] <= 5
    assert ended.at <= 5.1


# contract: L6
async def test_entering_is_no_checkpoint() -> None:
    server = testing.Server()
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        async with opened(server) as ws:
            ran.append("body")
            await ws.accept()
    assert ran == ["body", "other"]


# contract: L6
async def test_entering_in_a_cancelled_scope_gets_into_the_body() -> None:
    server = testing.Server()
    ran: list[str] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with opened(server):
            ran.append("body")
            await anyio.lowlevel.checkpoint()
            ran.append("not cancelled")
    assert ran == ["body"]
    assert scope.cancelled_caught
    assert server.transcript.violations == []


# contract: L6
def test_the_docs_say_that_it_is_not_for_async_generators() -> None:
    doc = inspect.getdoc(open_websocket)
    assert doc is not None
    assert "async generator" in doc
    assert "same task" in doc


# contract: L7
@pytest.mark.parametrize("personality", testing.BASIC, ids=lambda p: p.name)
async def test_the_sender_outlives_the_body(personality: testing.Personality) -> None:
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(10):
            ws.send_nowait(str(number))

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == [str(number) for number in range(10)]
    assert closes(server) == ["app close 1000"]


# contract: L7
async def test_cancelling_the_application_does_not_cancel_the_sender() -> None:
    server = testing.Server()
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)
        ws.send_nowait("queued")
        ws.cancel_scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
                await ws.send("from the clean-up")

    ended = await block(server, body)
    assert ended.error is None
    assert log.moments == {"sleeper": 0}
    assert server.transcript.from_app == ["queued", "from the clean-up"]
    assert closes(server) == ["app close 1000"]


# contract: L7
async def test_cancelling_the_application_does_not_cancel_the_receiver() -> None:
    server = testing.Server(personality=testing.GRANIAN)
    seen: list[object] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.wait_all_tasks_blocked()
        server.peer.send_nowait("kept")
        ws.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            seen.append(await ws.receive())

    ended = await block(server, body)
    assert ended.error is None
    assert seen == ["kept"]


# contract: L7
async def test_a_child_fails_and_the_clean_up_may_still_send() -> None:
    server = testing.Server()

    async def child() -> None:
        raise ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await ws.send("goodbye")

    ended = await block(server, body)
    assert isinstance(ended.error, ExceptionGroup)
    assert server.transcript.from_app == ["goodbye"]
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1011


# contract: L3, L5
async def test_the_facts_stay_readable_after_the_block() -> None:
    server = testing.Server(subprotocols=["a"])
    kept: list[WebSocket] = []

    async def body(ws: WebSocket) -> None:
        kept.append(ws)
        await ws.accept("a")
        error = await notified_by(ws.receive)
        assert (error.code, error.reason) == (4001, "bye")

    await block(server, body, (1, lambda: server.peer.close(4001, "bye")))
    (ws,) = kept
    assert (ws.close_code, ws.close_reason, ws.state) == (4001, "bye", "closed")
    assert ws.subprotocol == "a"
    assert ws.subprotocols == ("a",)


# contract: L2
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_event_loop_is_freed(backend: str) -> None:
    """A program, or a suite of tests, may run many loops one after the other."""
    loops: list[weakref.ref[object]] = []

    async def main() -> None:
        loops.append(weakref.ref(anyio.lowlevel.current_token().native_token))
        server = testing.Server()
        async with opened(server) as ws:
            await ws.accept()
            await ws.send("hello")

    run(backend, main)
    gc.collect()
    assert [loop() for loop in loops] == [None]
