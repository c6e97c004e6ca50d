"""S: what reaches the server, in which order, and what the call returns or raises."""

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from sniffio import current_async_library

from tests.contract._bench import Log, about, block, cancelling, closes, notified_by
from wsnursery import (
    LocalProtocolError,
    Options,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
)


def stalled(number: int = 2, *, shielded: bool = False) -> tuple[testing.Server, anyio.Event]:
    """A server whose n-th raw send (the accept is the first) waits for the event."""
    go_on = anyio.Event()
    return testing.Server(faults=[testing.StallSend(number, go_on, shielded)]), go_on


# contract: S1
@pytest.mark.usefixtures("over_both_paths")
@pytest.mark.parametrize("checkpoints", [0, 1, 3])
@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda p: p.name)
async def test_any_number_of_tasks_may_send(
    personality: testing.Personality, checkpoints: int
) -> None:
    """`block` fails if two raw sends overlap."""
    server = testing.Server(personality=personality, faults=[testing.Delay(checkpoints)])
    got: list[str | bytes] = []

    async def child(ws: WebSocket, name: int) -> None:
        for number in range(20):
            await ws.send(f"{name} {number}")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as tasks:
            for name in range(10):
                tasks.start_soon(child, ws, name)
            while len(got) < 200:
                got.append(await server.peer.receive())

    ended = await block(server, body)
    assert ended.error is None
    assert len(set(got)) == 200
    for name in range(10):
        mine = [message for message in got if str(message).startswith(f"{name} ")]
        assert mine == [f"{name} {number}" for number in range(20)]


# contract: S1
@pytest.mark.usefixtures("over_both_paths")
async def test_first_in_first_out_from_any_task() -> None:
    server, go_on = stalled()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(0, 10, 2):
            ws.start_soon(ws.send, str(number))
            await anyio.wait_all_tasks_blocked()
            ws.send_nowait(str(number + 1))
        go_on.set()

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == [str(number) for number in range(10)]


# contract: S1
@pytest.mark.usefixtures("over_both_paths")
async def test_the_close_waits_for_the_raw_send() -> None:
    server, go_on = stalled()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(ws.send, "slow")
        await anyio.sleep(1)
        await ws.close()
        assert anyio.current_time() == about(3)

    ended = await block(server, body, (3, go_on.set))
    assert ended.error is None
    assert server.transcript.lines[2:4] == ["app send 'slow'", "app close 1000"]


# contract: S2
@pytest.mark.usefixtures("over_both_paths")
async def test_send_returns_when_the_server_has_taken_it() -> None:
    server, go_on = stalled()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("slow")
        assert anyio.current_time() == 3
        assert server.transcript.from_app == ["slow"]

    ended = await block(server, body, (3, go_on.set))
    assert ended.error is None


# contract: S2
@pytest.mark.usefixtures("over_both_paths")
async def test_send_waits_for_those_before_it() -> None:
    server, go_on = stalled()
    log = Log()

    async def child(ws: WebSocket, text: str) -> None:
        await ws.send(text)
        log.note(text)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for text in "abc":
            ws.start_soon(child, ws, text)
            await anyio.wait_all_tasks_blocked()

    await block(server, body, (3, go_on.set))
    assert log.moments == {"a": 3, "b": 3, "c": 3}


# contract: S2, D9
@pytest.mark.usefixtures("over_both_paths")
@pytest.mark.parametrize("kind", [ValueError, TypeError, RuntimeError, KeyError, AssertionError])
@pytest.mark.parametrize("strict", [False, True])
async def test_an_error_belongs_to_the_call_that_sent_the_message(
    kind: type[Exception], strict: bool
) -> None:
    mine = kind("about b")
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on), testing.FailSend(3, mine)])
    errors: dict[str, Exception | None] = {}
    all_done = anyio.Event()

    async def child(ws: WebSocket, text: str) -> None:
        try:
            await ws.send(text)
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            errors[text] = exc
        else:
            errors[text] = None
        if len(errors) == 3:
            all_done.set()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for text in "abc":
            ws.start_soon(child, ws, text)
            await anyio.wait_all_tasks_blocked()
        go_on.set()
        await all_done.wait()
        await ws.send("d")

    ended = await block(server, body, strict=strict)
    assert ended.error is None
    assert errors == {"a": None, "b": mine, "c": None}
    assert server.transcript.from_app == ["a", "c", "d"]
    assert closes(server) == ["app close 1000"]


# contract: S2, X1
@pytest.mark.usefixtures("over_both_paths")
async def test_an_error_of_the_server_that_escapes_leaves_as_itself() -> None:
    mine = RuntimeError("something else")
    server = testing.Server(faults=[testing.FailSend(2, mine)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    ended = await block(server, body)
    assert ended.error is mine
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1011


# contract: S3
@pytest.mark.usefixtures("over_both_paths")
async def test_a_cancelled_send_that_has_not_begun_is_withdrawn() -> None:
    server, go_on = stalled()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(ws.send, "first")
        await anyio.wait_all_tasks_blocked()
        started = anyio.current_time()
        with anyio.move_on_after(1) as scope:
            await ws.send("withdrawn")
        assert scope.cancelled_caught
        assert anyio.current_time() == started + 1
        assert ws.statistics().send_buffer_used == 0
        ws.send_nowait("last")
        go_on.set()

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["first", "last"]


# contract: S3
@pytest.mark.usefixtures("over_both_paths")
@pytest.mark.parametrize("gone", range(3))
async def test_withdrawing_one_keeps_the_order_of_the_others(gone: int) -> None:
    server, go_on = stalled()
    scopes = [anyio.CancelScope() for _ in range(3)]

    async def child(ws: WebSocket, number: int) -> None:
        with scopes[number]:
            await ws.send(str(number))

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(ws.send, "first")
        for number in range(3):
            await anyio.wait_all_tasks_blocked()
            ws.start_soon(child, ws, number)
        await anyio.wait_all_tasks_blocked()
        scopes[gone].cancel()
        await anyio.wait_all_tasks_blocked()
        assert scopes[gone].cancelled_caught
        go_on.set()

    ended = await block(server, body)
    assert ended.error is None
    rest = [str(number) for number in range(3) if number != gone]
    assert server.transcript.from_app == ["first", *rest]


# contract: S3
@pytest.mark.usefixtures("over_both_paths")
async def test_a_cancelled_send_that_the_server_has_goes_out_whole() -> None:
    server, go_on = stalled()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with anyio.move_on_after(1) as scope:
            await ws.send("in flight")
        assert scope.cancelled_caught
        assert anyio.current_time() == 1
        await ws.send("next")
        assert anyio.current_time() == 3

    ended = await block(server, body, (3, go_on.set))
    assert ended.error is None
    assert server.transcript.from_app == ["in flight", "next"]
    assert closes(server) == ["app close 1000"]


# contract: S3
@pytest.mark.usefixtures("over_both_paths")
@pytest.mark.parametrize("after", range(8))
@pytest.mark.parametrize("delay", [0, 1, 2])
async def test_a_send_cancelled_at_any_moment_is_whole_or_nothing(after: int, delay: int) -> None:
    server = testing.Server(faults=[testing.Delay(delay)])
    done: list[str] = []

    async def child(ws: WebSocket, scope: anyio.CancelScope) -> None:
        with scope:
            await ws.send("maybe")
            done.append("maybe")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        scope = anyio.CancelScope()
        ws.start_soon(child, ws, scope)
        for _ in range(after):
            await anyio.lowlevel.checkpoint()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        await ws.send("next")

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app in (["maybe", "next"], ["next"])
    if done:
        assert server.transcript.from_app == ["maybe", "next"]


# contract: S3
@pytest.mark.usefixtures("over_both_paths")
async def test_an_abandoned_raw_send_poisons_the_connection() -> None:
    """Nothing is sent after it, not even a close; `block` fails otherwise."""
    server = testing.Server(faults=[testing.StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("queued behind")
        await ws.send("stalled")

    ended = await block(server, body, send_timeout=3)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert closes(server) == []
    assert server.transcript.from_app == []


# contract: S3, X5
@pytest.mark.usefixtures("over_both_paths")
async def test_an_abandoned_raw_send_when_cancelled_from_outside() -> None:
    server = testing.Server(faults=[testing.StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("stalled")

    with anyio.move_on_after(1) as scope:
        await block(server, body)
    assert scope.cancelled_caught
    assert anyio.current_time() == about(6)
    assert closes(server) == []
    assert server.transcript.violations == []


# contract: S4
@pytest.mark.usefixtures("over_both_paths")
async def test_flush_waits_for_everything_queued_before_it() -> None:
    server, go_on = stalled(3)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for text in "abc":
            ws.send_nowait(text)
        await ws.flush()
        assert anyio.current_time() == 3
        assert server.transcript.from_app == ["a", "b", "c"]

    ended = await block(server, body, (3, go_on.set))
    assert ended.error is None


# contract: S4
@pytest.mark.usefixtures("over_both_paths")
async def test_flush_does_not_wait_for_what_is_queued_after_it() -> None:
    early, late = anyio.Event(), anyio.Event()
    server = testing.Server(faults=[testing.StallSend(3, early), testing.StallSend(4, late)])
    log = Log()

    async def child(ws: WebSocket) -> None:
        await ws.flush()
        log.note("flushed")
        assert server.transcript.from_app == ["a", "b"]

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("a")
        ws.send_nowait("b")
        ws.start_soon(child, ws)
        await anyio.wait_all_tasks_blocked()
        ws.send_nowait("c")

    ended = await block(server, body, (1, early.set), (3, late.set))
    assert ended.error is None
    assert log.moments["flushed"] == 1
    assert server.transcript.from_app == ["a", "b", "c"]


# contract: S4
@pytest.mark.usefixtures("over_both_paths")
async def test_flush_waits_for_the_message_in_flight_of_a_cancelled_send() -> None:
    server, go_on = stalled()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with anyio.move_on_after(1):
            await ws.send("in flight")
        await ws.flush()
        assert anyio.current_time() == 3
        assert server.transcript.from_app == ["in flight"]

    ended = await block(server, body, (3, go_on.set))
    assert ended.error is None


# contract: S4
@pytest.mark.usefixtures("over_both_paths")
async def test_flush_of_nothing_returns() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.flush()
        assert anyio.current_time() == 0

    ended = await block(server, body)
    assert ended.error is None


# contract: S4
@pytest.mark.usefixtures("over_both_paths")
async def test_flush_while_what_it_waits_for_is_withdrawn() -> None:
    server, go_on = stalled()
    log = Log()
    scope = anyio.CancelScope()

    async def sends(ws: WebSocket) -> None:
        with scope:
            await ws.send("withdrawn")

    async def flushes(ws: WebSocket) -> None:
        await ws.flush()
        log.note("flushed")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for start in (
            lambda: ws.start_soon(ws.send, "a"),
            lambda: ws.start_soon(sends, ws),
            lambda: ws.start_soon(flushes, ws),
        ):
            start()
            await anyio.wait_all_tasks_blocked()
        scope.cancel()

    ended = await block(server, body, (3, go_on.set))
    assert ended.error is None
    assert log.moments == {"flushed": 3}
    assert server.transcript.from_app == ["a"]


# contract: S5
@pytest.mark.usefixtures("over_both_paths")
async def test_send_nowait_is_bounded_in_messages() -> None:
    server, go_on = stalled()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("in flight")
        await anyio.wait_all_tasks_blocked()
        ws.send_nowait("a")
        ws.send_nowait("b")
        for _ in range(3):
            with pytest.raises(anyio.WouldBlock):
                ws.send_nowait("too many")
        assert ws.statistics().send_buffer_used == 2
        assert anyio.current_time() < 1
        go_on.set()
        await ws.flush()
        ws.send_nowait("again")

    ended = await block(server, body, send_buffer=2)
    assert ended.error is None
    assert server.transcript.from_app == ["in flight", "a", "b", "again"]


# contract: S5
@pytest.mark.usefixtures("over_both_paths")
async def test_send_nowait_is_bounded_in_bytes() -> None:
    server, go_on = stalled()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("in flight")
        await anyio.wait_all_tasks_blocked()
        ws.send_nowait("123456")
        with pytest.raises(anyio.WouldBlock):
            ws.send_nowait("12345")
        ws.send_nowait("äö")
        with pytest.raises(anyio.WouldBlock):
            ws.send_nowait(b"1")
        assert ws.statistics().send_buffer_used_bytes == 10
        go_on.set()

    ended = await block(server, body, send_buffer_bytes=10)
    assert ended.error is None
    assert server.transcript.from_app == ["in flight", "123456", "äö"]


# contract: S5
@pytest.mark.usefixtures("over_both_paths")
async def test_send_nowait_never_waits() -> None:
    server = testing.Server(send_queue=50)
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(other)
        for _ in range(50):
            ws.send_nowait("x")
        assert ran == []

    ended = await block(server, body)
    assert ended.error is None
    assert len(server.transcript.from_app) == 50


# contract: S5, D5
@pytest.mark.usefixtures("over_both_paths")
async def test_send_nowait_in_a_cancelled_scope_still_queues() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with anyio.CancelScope() as scope:
            scope.cancel()
            ws.send_nowait("x")
            await anyio.lowlevel.checkpoint()

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["x"]


AN_OBJECT = pytest.param(object(), id="object")
WRONG: list[Any] = [None, 5, True, 1.5, AN_OBJECT, ["a"], {"a": 1}, (b"a",)]


# contract: S6
@pytest.mark.usefixtures("over_both_paths")
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
async def test_a_wrong_type_is_an_error_at_the_call(wrong: Any) -> None:
    server, go_on = stalled()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("in flight")
        await anyio.wait_all_tasks_blocked()
        ws.send_nowait("queued")
        with pytest.raises(TypeError, match="str"):
            ws.send_nowait(wrong)
        with pytest.raises(TypeError, match="str"):
            await ws.send(wrong)
        assert anyio.current_time() < 1
        assert ws.statistics().send_buffer_used == 1
        go_on.set()

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["in flight", "queued"]
    assert closes(server) == ["app close 1000"]


# contract: S6
@pytest.mark.usefixtures("over_both_paths")
async def test_mutable_messages_are_copied_at_the_call() -> None:
    server, go_on = stalled()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("in flight")
        await anyio.wait_all_tasks_blocked()
        first, second, third = (bytearray(b"abc") for _ in range(3))
        ws.send_nowait(first)
        ws.send_nowait(memoryview(second))
        ws.start_soon(ws.send, third)
        await anyio.wait_all_tasks_blocked()
        for array in (first, second, third):
            array[:] = b"xyz!"[: len(array)]
            array.clear()
        go_on.set()

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["in flight", b"abc", b"abc", b"abc"]


# contract: S6
@pytest.mark.usefixtures("over_both_paths")
async def test_memoryviews_of_every_shape() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send(memoryview(b"abcdef")[::2])
        await ws.send(memoryview(b"abcdefgh").cast("I"))
        await ws.send(memoryview(b""))

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == [b"ace", b"abcdefgh", b""]


# contract: S6
async def test_the_server_gets_plain_str_and_bytes() -> None:
    """Daphne refuses bytearray, and granian wants one key."""
    server = testing.Server()
    events: list[Any] = []

    async def send(event: Any) -> None:
        events.append(event)
        await server.send(event)

    async with open_websocket(server.scope, server.receive, send) as ws:
        await ws.accept()
        for message in ("", b"", "a", b"b", bytearray(b"c"), memoryview(b"d")):
            await ws.send(message)
    messages = [event for event in events if event["type"] == "websocket.send"]
    payloads = [
        event["text"] if event.get("text") is not None else event["bytes"] for event in messages
    ]
    assert payloads == ["", b"", "a", b"b", b"c", b"d"]
    assert [type(payload) for payload in payloads] == [str, bytes, str, bytes, bytes, bytes]


# contract: S6
@pytest.mark.usefixtures("over_both_paths")
async def test_empty_messages_are_messages() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("")
        ws.send_nowait(b"")
        server.peer.send_nowait("")
        server.peer.send_nowait(b"")
        assert await ws.receive() == ""
        assert await ws.receive_bytes() == b""

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["", b""]


async def nowait(ws: WebSocket) -> None:
    ws.send_nowait("late")


SENDING: dict[str, Callable[[WebSocket], Awaitable[object]]] = {
    "send": lambda ws: ws.send("late"),
    "send_nowait": nowait,
    "send_json": lambda ws: ws.send_json(1),
    "flush": lambda ws: ws.flush(),
}


# contract: S7, D6
@pytest.mark.parametrize("name", SENDING)
@pytest.mark.parametrize("personality", testing.BASIC, ids=lambda p: p.name)
async def test_sending_after_a_clean_end(name: str, personality: testing.Personality) -> None:
    server = testing.Server(personality=personality)
    calls = 0

    async def send(event: Any) -> None:
        nonlocal calls
        calls += 1
        await server.send(event)

    async with open_websocket(server.scope, server.receive, send) as ws:
        await ws.accept()
        await ws.send("x")
        server.peer.close(4001, "bye")
        notified = await notified_by(ws.receive)
        before = calls
        errors = [notified, *[await notified_by(lambda: SENDING[name](ws)) for _ in range(3)]]
        assert calls == before
    assert calls == before
    assert [(error.code, error.reason) for error in errors] == [(4001, "bye")] * 4
    assert len({id(error) for error in errors}) == 4
    assert {id(error.__cause__) for error in errors} == {id(None)}


# contract: S7, D1
@pytest.mark.usefixtures("over_both_paths")
@pytest.mark.parametrize("name", SENDING)
async def test_sending_after_an_abnormal_end(name: str) -> None:
    cause = BrokenPipeError("mine")
    server = testing.Server(faults=[testing.FailSend(2, cause)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        notified = await notified_by(lambda: ws.send("x"))
        before = server.transcript.lines
        errors = [notified, *[await notified_by(lambda: SENDING[name](ws)) for _ in range(3)]]
        assert server.transcript.lines == before
        assert [(error.code, error.reason) for error in errors] == [(None, "")] * 4
        assert len({id(error) for error in errors}) == 4
        assert all(error.__cause__ is cause for error in errors)

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == []


# contract: S7
@pytest.mark.usefixtures("over_both_paths")
@pytest.mark.parametrize("name", SENDING)
@pytest.mark.parametrize("answers", [True, False])
async def test_sending_after_your_own_close(name: str, answers: bool) -> None:
    server = testing.Server(answers_close=answers)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close()
        for _ in range(2):
            with pytest.raises(anyio.ClosedResourceError):
                await SENDING[name](ws)
            await anyio.sleep(1)

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == []
    assert closes(server) == ["app close 1000"]


async def tick(ticks: list[int]) -> None:
    while True:
        await anyio.lowlevel.checkpoint()
        ticks.append(1)


async def is_open(ws: WebSocket, server: testing.Server) -> None:
    await ws.accept()


async def is_gone(ws: WebSocket, server: testing.Server) -> None:
    await ws.accept()
    server.peer.vanish()
    await notified_by(ws.receive)


async def is_closed(ws: WebSocket, server: testing.Server) -> None:
    await ws.accept()
    await ws.close()


async def is_new(ws: WebSocket, server: testing.Server) -> None:
    pass


async def quietly(ws: WebSocket, name: str) -> None:
    with suppress(WebSocketDisconnected, anyio.ClosedResourceError, LocalProtocolError):
        await SENDING[name](ws)


STATES = [is_open, is_gone, is_closed, is_new]


# contract: S8
@pytest.mark.parametrize("name", ["send", "send_json", "flush"])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("personality", testing.BASIC, ids=lambda p: p.name)
async def test_every_send_lets_others_run(
    name: str,
    state: Callable[[WebSocket, testing.Server], Awaitable[None]],
    personality: testing.Personality,
) -> None:
    server = testing.Server(personality=personality, send_queue=1000)
    ticks: list[int] = []

    async def body(ws: WebSocket) -> None:
        await state(ws, server)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick, ticks)
            await anyio.lowlevel.checkpoint()
            ticks.clear()
            for _ in range(100):
                await quietly(ws, name)
            ran = len(ticks)
            tasks.cancel_scope.cancel()
        assert ran >= 99

    ended = await block(server, body)
    assert ended.error is None


# contract: S8
@pytest.mark.parametrize("name", ["send", "send_json", "flush"])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("personality", testing.BASIC, ids=lambda p: p.name)
async def test_every_send_can_be_cancelled(
    name: str,
    state: Callable[[WebSocket, testing.Server], Awaitable[None]],
    personality: testing.Personality,
) -> None:
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        await state(ws, server)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await quietly(ws, name)
            pytest.fail("not cancelled")
        assert scope.cancelled_caught
        assert cancelling() == 0

    ended = await block(server, body)
    assert ended.error is None
    if current_async_library() == "trio":
        assert server.transcript.from_app == []
    else:
        # A cancellation arrives where the call waits. By then the server may have the message.
        assert len(server.transcript.from_app) <= 1


# contract: S8
@pytest.mark.usefixtures("over_both_paths")
async def test_a_loop_that_sends_to_a_dead_peer_cannot_freeze_the_process() -> None:
    server = testing.Server(personality=testing.HYPERCORN_TRIO)
    sent = 0

    async def body(ws: WebSocket) -> None:
        nonlocal sent
        await ws.accept()
        server.peer.vanish()
        while sent < 10_000:
            sent += 1
            await ws.send("x")

    ended = await block(server, body)
    assert ended.own.code == 1006
    assert sent < 50


# contract: S9
@pytest.mark.usefixtures("over_both_paths")
@pytest.mark.parametrize(
    "personality",
    [testing.HYPERCORN_TRIO, testing.HYPERCORN_ASYNCIO],
    ids=lambda p: p.name,
)
@pytest.mark.parametrize("messages", [9, 10, 11, 13, 14, 15, 16, 17, 18])
async def test_a_send_that_waits_for_the_receive_queue(
    personality: testing.Personality, messages: int
) -> None:
    """Hypercorn puts the disconnect into the queue inside the application's send."""
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.wait_all_tasks_blocked()
        for number in range(messages):
            with anyio.move_on_after(0.01):
                await server.peer.send(str(number))
        written = server.transcript.from_peer
        server.peer.vanish()
        with anyio.fail_after(0.5):
            try:
                for _ in range(20):
                    await ws.send("x")
            except WebSocketDisconnected:
                pass
        assert [message async for message in ws] == written
        assert ws.close_code == 1006

    ended = await block(server, body, receive_buffer=4)
    assert ended.error is None
    assert ended.at < 2


# contract: S9, R2
@pytest.mark.usefixtures("over_both_paths")
async def test_the_receiver_goes_on_while_a_raw_send_is_in_flight() -> None:
    server = testing.Server(faults=[testing.StallSend(2)], receive_queue=100)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(6):
            server.peer.send_nowait(str(number))
        await anyio.sleep(1)
        assert server.peer.unread == 1
        ws.send_nowait("stalled")
        await anyio.sleep(1)
        assert server.peer.unread == 0
        server.peer.vanish()
        await anyio.sleep(0.5)
        assert ws.close_code == 1006
        assert [await ws.receive() for _ in range(6)] == [str(number) for number in range(6)]
        await notified_by(ws.receive)

    ended = await block(server, body, receive_buffer=4)
    assert ended.error is None


# contract: S10, D1
@pytest.mark.usefixtures("over_both_paths")
async def test_a_raw_send_that_takes_too_long_breaks_the_connection() -> None:
    server = testing.Server(faults=[testing.StallSend(2)])
    log = Log()

    async def child(ws: WebSocket) -> None:
        error = await notified_by(lambda: ws.send("stalled"))
        log.note("notified")
        assert isinstance(error.__cause__, TimeoutError)
        raise error

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        ws.start_soon(log.sleeper)
        await log.sleeper("body")

    ended = await block(server, body, send_timeout=12)
    assert log.moments == {"notified": 12, "sleeper": 12, "body": 12}
    assert (ended.own.code, ended.own.reason) == (None, "")
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert ended.at == about(12)
    assert closes(server) == []


# contract: S10, T4
@pytest.mark.usefixtures("over_both_paths")
async def test_the_default_send_timeout() -> None:
    server = testing.Server(faults=[testing.StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("stalled")

    ended = await block(server, body)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert ended.at == about(Options().send_timeout or math.inf)


# contract: S10
@pytest.mark.usefixtures("over_both_paths")
async def test_every_message_has_the_send_timeout_of_its_own() -> None:
    """Waiting in the queue does not count."""
    server = testing.Server(send_queue=1)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(5):
            ws.send_nowait(str(number))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ws.send, "last")
            for _ in range(6):
                await anyio.sleep(2)
                await server.peer.receive()

    ended = await block(server, body, send_timeout=3)
    assert ended.error is None
    assert server.transcript.from_app == ["0", "1", "2", "3", "4", "last"]


# contract: S10
@pytest.mark.usefixtures("over_both_paths")
async def test_clean_up_runs_even_if_the_server_keeps_the_send() -> None:
    server, go_on = stalled(shielded=True)
    log = Log()

    async def child(ws: WebSocket) -> None:
        try:
            await ws.send("stalled")
        except WebSocketDisconnected:
            log.note("notified")
            await anyio.sleep(1)
            log.note("cleaned up")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        await log.sleeper("body")

    ended = await block(server, body, (100, go_on.set), send_timeout=12)
    assert log.moments == {"body": 12, "notified": 12, "cleaned up": 13}
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert closes(server) == []


# contract: S10
@pytest.mark.usefixtures("over_both_paths")
async def test_a_stalled_accept_times_out_too() -> None:
    server = testing.Server(faults=[testing.StallSend(1)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()

    ended = await block(server, body, send_timeout=3)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert ended.at == about(3)


# contract: S10
@pytest.mark.usefixtures("over_both_paths")
async def test_without_send_timeout_it_waits() -> None:
    server, go_on = stalled()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("slow")

    ended = await block(server, body, (1000, go_on.set), send_timeout=None)
    assert ended.error is None
    assert ended.at == about(1000)
