"""R: which messages the application gets, and when the server is read."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
from sniffio import current_async_library

from tests.contract._bench import Log, about, block, closes, notified_by
from wsnursery import (
    InvalidPayload,
    Options,
    UnexpectedMessage,
    WebSocket,
    open_websocket,
    testing,
)

pytestmark = pytest.mark.usefixtures("over_both_paths")


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("wsnursery") and record.levelno == logging.WARNING
    ]


async def write(server: testing.Server, count: int) -> None:
    for number in range(count):
        await server.peer.send(str(number))


# contract: R1
@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda p: p.name)
@pytest.mark.parametrize("receive_buffer", [1, 2, 64])
async def test_in_order_none_lost_none_twice(
    personality: testing.Personality, receive_buffer: int
) -> None:
    server = testing.Server(personality=personality)
    got: list[str | bytes] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(write, server, 100)
        for number in range(100):
            got.append(await ws.receive())
            if number % 7 == 0:
                await anyio.sleep(0.01)

    ended = await block(server, body, receive_buffer=receive_buffer)
    assert ended.error is None
    assert got == [str(number) for number in range(100)]


# contract: R1
@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda p: p.name)
@pytest.mark.parametrize("after", range(6))
async def test_a_cancelled_receive_loses_nothing(
    personality: testing.Personality, after: int
) -> None:
    """Cancelled at every moment around the arrival of a message."""
    server = testing.Server(personality=personality)
    got: list[str | bytes] = []

    async def read(ws: WebSocket, scope: anyio.CancelScope) -> None:
        with scope:
            got.append(await ws.receive())

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(10):
            async with anyio.create_task_group() as tasks:
                scope = anyio.CancelScope()
                tasks.start_soon(read, ws, scope)
                await anyio.wait_all_tasks_blocked()
                await server.peer.send(str(number))
                for _ in range(after):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()
        server.peer.close()
        async for message in ws:
            got.append(message)  # noqa: PERF401

    ended = await block(server, body)
    assert ended.error is None
    assert got == [str(number) for number in range(10)]


# contract: R1
async def test_timeouts_around_receive_lose_nothing() -> None:
    server = testing.Server()
    got: list[str | bytes] = []

    async def slowly() -> None:
        for number in range(20):
            await anyio.sleep(0.5)
            await server.peer.send(str(number))

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(slowly)
        timeouts = 0
        while len(got) < 20:
            with anyio.move_on_after(0.5) as scope:
                got.append(await ws.receive())
            timeouts += scope.cancelled_caught
        assert timeouts > 0

    ended = await block(server, body)
    assert ended.error is None
    assert got == [str(number) for number in range(20)]


# contract: R1
@pytest.mark.parametrize("after", range(5))
async def test_a_cancelled_reader_hands_its_turn_on(after: int) -> None:
    """The message arrives for a reader that is cancelled: the next one gets it."""
    server = testing.Server()
    got: list[str | bytes] = []

    async def read(ws: WebSocket, scope: anyio.CancelScope) -> None:
        with scope:
            got.append(await ws.receive())

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        first = anyio.CancelScope()
        ws.start_soon(read, ws, first)
        await anyio.wait_all_tasks_blocked()
        server.peer.send_nowait("message")
        for _ in range(after):
            await anyio.lowlevel.checkpoint()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        if not got:
            ws.start_soon(read, ws, anyio.CancelScope())

    ended = await block(server, body)
    assert ended.error is None
    assert got == ["message"]


# contract: R1, X5
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("after", range(6))
async def test_a_natively_cancelled_receive_loses_nothing(after: int) -> None:
    server = testing.Server()
    got: list[str | bytes] = []

    async def read(ws: WebSocket) -> None:
        got.append(await ws.receive())

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(10):
            task = asyncio.create_task(read(ws))
            await anyio.wait_all_tasks_blocked()
            await server.peer.send(str(number))
            for _ in range(after):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        server.peer.close()
        async for message in ws:
            got.append(message)  # noqa: PERF401

    ended = await block(server, body)
    assert ended.error is None
    assert got == [str(number) for number in range(10)]


# contract: R1
async def test_receive_lets_others_run() -> None:
    """On trio every call is a checkpoint; on asyncio one in 16 that did not have to wait."""
    server = testing.Server(receive_queue=64)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1

    async def body(ws: WebSocket) -> None:
        nonlocal ticks
        await ws.accept()
        for _ in range(49):
            await server.peer.send("x")
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            await anyio.lowlevel.checkpoint()
            ticks = 0
            for _ in range(49):
                await ws.receive()
            ran = ticks
            tasks.cancel_scope.cancel()
        assert ran >= (48 if current_async_library() == "trio" else 2)

    ended = await block(server, body)
    assert ended.error is None


# contract: R2
@pytest.mark.parametrize("bound", [1, 4, 64])
async def test_the_inbox_is_bounded_in_messages(bound: int) -> None:
    server = testing.Server(receive_queue=1000)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(200):
            server.peer.send_nowait(str(number))
        await anyio.sleep(1)
        assert server.peer.unread == 200 - bound - 1
        assert ws.statistics().receive_buffer_used <= bound + 1
        assert await ws.receive() == "0"
        await anyio.sleep(1)
        assert server.peer.unread == 200 - bound - 2
        for number in range(1, 200):
            assert await ws.receive() == str(number)

    ended = await block(server, body, receive_buffer=bound)
    assert ended.error is None


# contract: R2
async def test_the_inbox_is_bounded_in_bytes() -> None:
    server = testing.Server(receive_queue=1000)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(10):
            server.peer.send_nowait("12345")
        await anyio.sleep(1)
        assert server.peer.unread == 7
        for _ in range(10):
            assert await ws.receive() == "12345"

    ended = await block(server, body, receive_buffer_bytes=10)
    assert ended.error is None


# contract: R2
async def test_bytes_are_counted_as_they_are_in_utf8() -> None:
    server = testing.Server(receive_queue=1000)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(10):
            server.peer.send_nowait("äö€" + "x" * 3)
        await anyio.sleep(1)
        assert server.peer.unread == 7

    ended = await block(server, body, receive_buffer_bytes=20)
    assert ended.error is None


# contract: R2
async def test_a_message_larger_than_the_bound_is_delivered() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await server.peer.send("x" * 1000)
        await server.peer.send("y")
        assert await ws.receive() == "x" * 1000
        assert await ws.receive() == "y"

    ended = await block(server, body, receive_buffer_bytes=10)
    assert ended.error is None


# contract: R2, D3
async def test_a_disconnect_right_behind_a_full_inbox_is_seen() -> None:
    server = testing.Server(receive_queue=1000)
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(4):
            server.peer.send_nowait(str(number))
        await anyio.sleep(1)
        server.peer.close(4001, "bye")
        await anyio.sleep(1)
        assert (ws.close_code, ws.close_reason) == (4001, "bye")
        got = [message async for message in ws]
        assert got == ["0", "1", "2", "3"]
        log.note("end")

    ended = await block(server, body, receive_buffer=4)
    assert ended.error is None
    assert log.moments == {"end": 2}


# contract: R2
async def test_a_disconnect_further_behind_is_seen_when_there_is_room() -> None:
    server = testing.Server(receive_queue=1000)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(6):
            server.peer.send_nowait(str(number))
        server.peer.close(4001)
        await anyio.sleep(100)
        assert ws.close_code is None
        got = [message async for message in ws]
        assert got == [str(number) for number in range(6)]
        assert ws.close_code == 4001

    ended = await block(server, body, receive_buffer=4)
    assert ended.error is None


# contract: R2, S9
async def test_the_overflow_while_a_raw_send_is_in_flight_is_bounded() -> None:
    server = testing.Server(receive_queue=1000, faults=[testing.StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("stalled")
        for number in range(100):
            server.peer.send_nowait(str(number))
        await anyio.sleep(0.2)
        assert 100 - 2 * 4 - 1 <= server.peer.unread < 100 - 4 - 1
        await anyio.sleep(10)  # 3 * 20 bytes are 35 messages of these
        assert 100 - 35 - 1 <= server.peer.unread < 100 - 2 * 4 - 1
        for number in range(100):
            assert await ws.receive() == str(number)
        server.peer.close()
        await notified_by(ws.receive)

    ended = await block(server, body, receive_buffer=4, receive_buffer_bytes=20)
    assert ended.error is None


# contract: R3
async def test_discard_always_sees_the_disconnect() -> None:
    server = testing.Server(receive_queue=1000)
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(500):
            server.peer.send_nowait(str(number))
        await anyio.sleep(1)
        assert server.peer.unread == 0
        assert ws.statistics().receive_buffer_used == 0
        for number in range(500):
            server.peer.send_nowait(str(number))
        await log.sleeper("body")

    def leave() -> None:
        server.peer.send_nowait("last")
        server.peer.close(4001)

    ended = await block(server, body, (3, leave), incoming="discard", receive_buffer=2)
    assert ended.own.code == 4001
    assert log.moments == {"body": 3}
    assert ended.at == about(3)


# contract: R3
async def test_a_full_inbox_without_a_reader_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = testing.Server(receive_queue=1000)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(20):
            server.peer.send_nowait(str(number))
        await anyio.sleep(1)
        assert len(warnings_of(caplog)) == 1
        assert 'incoming="discard"' in warnings_of(caplog)[0]
        for _ in range(20):
            await ws.receive()
        for number in range(20):
            server.peer.send_nowait(str(number))
        await anyio.sleep(1)

    ended = await block(server, body, receive_buffer=4)
    assert ended.error is None
    assert len(warnings_of(caplog)) == 1


# contract: R3
async def test_a_full_inbox_of_a_slow_reader_is_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = testing.Server(receive_queue=1000)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("first")
        await ws.receive()
        for number in range(20):
            server.peer.send_nowait(str(number))
        await anyio.sleep(1)

    ended = await block(server, body, receive_buffer=4)
    assert ended.error is None
    assert warnings_of(caplog) == []


READING: dict[str, Callable[[WebSocket], Awaitable[object]]] = {
    "receive": lambda ws: ws.receive(),
    "receive_text": lambda ws: ws.receive_text(),
    "receive_bytes": lambda ws: ws.receive_bytes(),
    "receive_json": lambda ws: ws.receive_json(),
    "async for": lambda ws: anext(aiter(ws)),
}


# contract: R4
@pytest.mark.parametrize("second", READING)
async def test_one_reader_at_a_time(second: str) -> None:
    server = testing.Server()
    got: list[str | bytes] = []

    async def first(ws: WebSocket) -> None:
        got.append(await ws.receive())

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(first, ws)
        await anyio.wait_all_tasks_blocked()
        for _ in range(2):
            with anyio.fail_after(1), pytest.raises(anyio.BusyResourceError):
                await READING[second](ws)
        await server.peer.send("unharmed")
        await anyio.wait_all_tasks_blocked()
        assert got == ["unharmed"]
        await server.peer.send("next")
        assert await ws.receive() == "next"

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == ["app close 1000"]


# contract: R5, D3
@pytest.mark.parametrize("name", ["receive", "receive_text", "receive_bytes", "receive_json"])
@pytest.mark.parametrize("personality", testing.BASIC, ids=lambda p: p.name)
async def test_after_a_clean_end_the_unread_is_delivered(
    name: str, personality: testing.Personality
) -> None:
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(5):
            server.peer.send_nowait(str(number))
        server.peer.close(4001, "bye")
        assert [await ws.receive() for _ in range(5)] == [str(number) for number in range(5)]
        errors = [await notified_by(lambda: READING[name](ws)) for _ in range(3)]
        assert [(error.code, error.reason) for error in errors] == [(4001, "bye")] * 3
        assert len({id(error) for error in errors}) == 3
        assert all(error.__cause__ is None for error in errors)

    ended = await block(server, body)
    assert ended.error is None


# contract: R5, D1
@pytest.mark.parametrize("name", READING)
async def test_after_an_abnormal_end_the_unread_is_dropped(name: str) -> None:
    cause = OSError("mine")
    server = testing.Server(faults=[testing.FailSend(2, cause)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(5):
            server.peer.send_nowait(str(number))
        await anyio.wait_all_tasks_blocked()
        await notified_by(lambda: ws.send("x"))
        assert ws.statistics().receive_buffer_used == 0
        errors = [await notified_by(lambda: READING[name](ws)) for _ in range(3)]
        assert all(error.__cause__ is cause for error in errors)
        assert [(error.code, error.reason) for error in errors] == [(None, "")] * 3

    ended = await block(server, body)
    assert ended.error is None


# contract: R5
async def test_after_your_own_close_receive_is_closed_and_the_loop_ends() -> None:
    server = testing.Server(answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("unread")
        await ws.close()
        with pytest.raises(anyio.ClosedResourceError):
            await ws.receive()
        async for _ in ws:
            pytest.fail("there is nothing to read")

    ended = await block(server, body)
    assert ended.error is None


# contract: R5
async def test_a_reader_that_waits_is_woken_by_your_own_close() -> None:
    server = testing.Server(answers_close=False)
    log = Log()

    async def reads(ws: WebSocket) -> None:
        async for _ in ws:
            pass
        log.note("the loop ended")

    async def receives(ws: WebSocket) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await ws.receive()
        log.note("receive raised")

    for reader in (reads, receives):
        server = testing.Server(answers_close=False)

        async def body(ws: WebSocket, reader: Any = reader) -> None:
            await ws.accept()
            ws.start_soon(reader, ws)
            await anyio.wait_all_tasks_blocked()
            await ws.close()

        ended = await block(server, body)
        assert ended.error is None
    assert set(log.moments) == {"the loop ended", "receive raised"}


# contract: R6
@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1011, 1012, 4001, None])
async def test_the_loop_ends_whatever_the_code(code: int | None) -> None:
    rules = replace(testing.SILENT, close_code=code)
    server = testing.Server(personality=rules)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("a")
        server.peer.close(4999, "bye")
        assert [message async for message in ws] == ["a"]
        assert [message async for message in ws] == []
        assert (ws.close_code, ws.close_reason) == (code, "bye")

    ended = await block(server, body)
    assert ended.error is None


# contract: R6
async def test_the_loop_ends_when_the_peer_vanishes() -> None:
    for personality in (*testing.BASIC, *testing.SERVERS):
        server = testing.Server(personality=personality)

        async def body(ws: WebSocket, server: testing.Server = server) -> None:
            await ws.accept()
            server.peer.send_nowait("a")
            server.peer.vanish()
            assert [message async for message in ws] == ["a"]
            assert ws.close_code == server.personality.loss_code

        ended = await block(server, body)
        assert ended.error is None


# contract: R7
@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda p: p.name)
async def test_leaving_after_the_disconnect_is_bounded(
    personality: testing.Personality,
) -> None:
    """On most servers receive() hangs for ever after the disconnect event."""
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.error is None
    assert ended.at == about(3)


# contract: R7, C4
@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda p: p.name)
async def test_leaving_after_your_own_close_is_bounded(
    personality: testing.Personality,
) -> None:
    server = testing.Server(personality=personality, answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == ["app close 1000"]
    assert ended.at <= 5.1


# contract: R7
@pytest.mark.parametrize(
    "personality",
    [testing.HYPERCORN_TRIO, testing.HYPERCORN_ASYNCIO],
    ids=lambda p: p.name,
)
@pytest.mark.parametrize("way", ["leaves", "closes", "fails", "is broken"])
async def test_the_queue_of_the_server_is_drained(
    personality: testing.Personality, way: str
) -> None:
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.wait_all_tasks_blocked()
        for number in range(13):
            await server.peer.send(str(number))
        await anyio.wait_all_tasks_blocked()
        assert server.peer.unread == 10
        if way == "closes":
            await ws.close(4000)
        elif way == "fails":
            raise ValueError("mine")
        elif way == "is broken":
            with server.inject(testing.FailSend(1, OSError)):
                await ws.send("x")

    ended = await block(server, body, receive_buffer=2)
    assert server.peer.unread == 0
    assert ended.at < 1


# contract: R7
async def test_draining_a_peer_that_floods_is_bounded() -> None:
    server = testing.Server(answers_close=False, receive_queue=10)

    async def flood() -> None:
        while True:
            try:
                await server.peer.send("x")
            except testing.ConnectionEnded:
                return
            await anyio.sleep(0.001)

    async def body(ws: WebSocket) -> None:
        await ws.accept()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flood)
        ended = await block(server, body)
        tasks.cancel_scope.cancel()
    assert ended.error is None
    assert ended.at <= 5.2


# contract: R7
@pytest.mark.parametrize(
    "personality", [testing.GRANIAN, testing.GRANIAN_OLD], ids=lambda p: p.name
)
@pytest.mark.parametrize("way", ["leaves", "closes", "fails", "is cancelled"])
async def test_granian_can_close(personality: testing.Personality, way: str) -> None:
    """Its close waits for a pending receive."""
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep(1)
        if way == "closes":
            await ws.close()
        elif way == "fails":
            raise ValueError("mine")
        elif way == "is cancelled":
            await anyio.sleep_forever()

    with anyio.move_on_after(2):
        await block(server, body)
    assert anyio.current_time() <= 2.2
    assert len(closes(server)) == 1
    assert server.transcript.violations == []


# contract: R8
async def test_receive_text_meets_bytes() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait(b"\x00")
        server.peer.send_nowait("next")
        with pytest.raises(UnexpectedMessage) as caught:
            await ws.receive_text()
        assert isinstance(caught.value, TypeError)
        assert caught.value.message == b"\x00"
        assert await ws.receive_text() == "next"
        await ws.send("still here")

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["still here"]


# contract: R8
async def test_receive_bytes_meets_text() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("text")
        server.peer.send_nowait(b"next")
        with pytest.raises(UnexpectedMessage) as caught:
            await ws.receive_bytes()
        assert caught.value.message == "text"
        assert await ws.receive_bytes() == b"next"

    ended = await block(server, body)
    assert ended.error is None


# contract: R8
@pytest.mark.parametrize("bad", ["", "{", "nope", '{"a": }', b"\xff\xfe\xfd"], ids=repr)
async def test_receive_json_meets_something_else(bad: str | bytes) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait(bad)
        server.peer.send_nowait('{"a": [1, null]}')
        with pytest.raises((InvalidPayload, UnexpectedMessage)) as caught:
            await ws.receive_json()
        if isinstance(bad, str):
            assert type(caught.value) is InvalidPayload
            assert isinstance(caught.value, ValueError)
        assert getattr(caught.value, "message", None) == bad
        assert await ws.receive_json() == {"a": [1, None]}

    ended = await block(server, body)
    assert ended.error is None


# contract: R8
async def test_a_very_deep_json_is_bad_json() -> None:
    server = testing.Server()
    deep = "[" * 200_000

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait(deep)
        server.peer.send_nowait("1")
        with pytest.raises(InvalidPayload):
            await ws.receive_json()
        assert await ws.receive_json() == 1

    ended = await block(server, body)
    assert ended.error is None


def own_queue() -> tuple[Callable[[Any], None], Any]:
    """A server's queue, from which a reader receives in place: how to put, and its receive."""
    if current_async_library() == "trio":
        into, out_of = trio.open_memory_channel[Any](100)
        return into.send_nowait, out_of.receive
    queue: asyncio.Queue[Any] = asyncio.Queue()
    return queue.put_nowait, queue.get


@asynccontextmanager
async def unread(count: int, bound: int) -> AsyncGenerator[tuple[WebSocket, Callable[[Any], None]]]:
    """A block whose server has a queue with this many messages that no task has read."""
    server = testing.Server()
    put, receive = own_queue()
    put({"type": "websocket.connect"})
    options = Options(receive_buffer=bound)
    async with open_websocket(server.scope, receive, server.send, options=options) as ws:
        await server.receive()
        await ws.accept()
        for number in range(count):
            put({"type": "websocket.receive", "text": str(number)})
        await anyio.sleep(1)  # no task reads: the receiver task does
        yield ws, put


# contract: R1
@pytest.mark.parametrize("bound", [1, 3, 8])
async def test_the_reader_takes_over_from_a_receiver_that_has_a_message_in_hand(bound: int) -> None:
    """On a server from whose queue a reader receives in place: the message in hand is not lost."""
    got: list[str | bytes] = []
    async with unread(50, bound) as (ws, put):
        with anyio.move_on_after(1):
            while len(got) < 50:
                got.append(await ws.receive())
        put({"type": "websocket.disconnect", "code": 1000})
        async for message in ws:
            got.append(message)  # noqa: PERF401
    assert got == [str(number) for number in range(50)]


# contract: R1
@pytest.mark.parametrize("bound", [1, 3])
async def test_receive_nowait_does_not_overtake_a_message_in_hand(bound: int) -> None:
    """The receiver task holds it and waits for room, while more is in the server's queue."""
    got: list[str | bytes] = []
    async with unread(10, bound) as (ws, put):
        while len(got) < 10:
            try:
                got.append(ws.receive_nowait())
            except anyio.WouldBlock:
                await anyio.sleep(1)
        put({"type": "websocket.disconnect", "code": 1000})
    assert got == [str(number) for number in range(10)]
