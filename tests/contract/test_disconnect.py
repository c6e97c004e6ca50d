"""D: which tasks are notified of the end, when, and how."""

import logging
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.contract._bench import (
    Log,
    about,
    block,
    closes,
    notified_by,
)
from wsnursery import WebSocket, WebSocketDisconnected, testing

pytestmark = pytest.mark.usefixtures("over_both_paths")

UVICORN_TEXT = (
    "Unexpected ASGI message 'websocket.send', after sending 'websocket.close' "
    "or response already completed."
)

by_basic = pytest.mark.parametrize("personality", testing.BASIC, ids=lambda p: p.name)
by_any = pytest.mark.parametrize(
    "personality", [*testing.BASIC, *testing.SERVERS], ids=lambda p: p.name
)


# D1: an abnormal end


# contract: D1
@pytest.mark.parametrize(
    "cause", [OSError("mine"), BrokenPipeError(32, "mine"), ConnectionResetError(), TimeoutError()]
)
async def test_broken_by_a_send(cause: OSError) -> None:
    server = testing.Server(faults=[testing.FailSend(2, cause)])
    log = Log()
    notified: list[WebSocketDisconnected] = []

    async def waits(name: str, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except WebSocketDisconnected as exc:
            notified.append(exc)
            log.note(name)
            raise

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(waits, "receive", ws.receive)
        ws.start_soon(log.sleeper)
        await anyio.sleep(3)
        ws.start_soon(waits, "send a", lambda: ws.send("a"))
        ws.start_soon(waits, "send b", lambda: ws.send("b"))
        ws.start_soon(waits, "flush", lambda: queue_and_flush(ws))
        await log.sleeper("body")

    async def queue_and_flush(ws: WebSocket) -> None:
        ws.send_nowait("c")
        await ws.flush()

    ended = await block(server, body)
    names = ("receive", "send a", "send b", "flush", "sleeper", "body")
    assert log.moments == dict.fromkeys(names, 3)
    assert len(notified) == len({id(error) for error in notified}) == 4
    assert all(error.__cause__ is cause for error in notified)
    assert ended.own.__cause__ is cause
    assert (ended.own.code, ended.own.reason) == (None, "")
    assert ended.at == about(3)
    assert server.transcript.from_app == []
    assert closes(server) == []


# contract: D1
@pytest.mark.parametrize("cause", [OSError("mine"), ConnectionResetError(), TimeoutError(110, "")])
async def test_broken_by_a_receive(cause: Exception) -> None:
    server = testing.Server(faults=[testing.FailReceive(3, cause)])
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep(3)
        server.peer.send_nowait("unread")
        await log.sleeper("body")

    ended = await block(server, body)
    assert log.moments == {"body": 3}
    assert ended.own.__cause__ is cause
    assert (ended.own.code, ended.own.reason) == (None, "")
    assert closes(server) == []


# contract: D1
async def test_broken_drops_both_buffers() -> None:
    server = testing.Server()
    kept: list[WebSocket] = []

    async def body(ws: WebSocket) -> None:
        kept.append(ws)
        await ws.accept()
        for number in range(5):
            server.peer.send_nowait(str(number))
        await anyio.wait_all_tasks_blocked()
        assert ws.statistics().receive_buffer_used == 5
        with server.inject(testing.FailSend(1, OSError("mine"))):
            for number in range(5):
                ws.send_nowait(str(number))
            error = await notified_by(ws.flush)
        statistics = ws.statistics()
        assert statistics.receive_buffer_used == statistics.receive_buffer_used_bytes == 0
        assert statistics.send_buffer_used == statistics.send_buffer_used_bytes == 0
        assert statistics.tasks_waiting_send == 0
        assert error.undelivered >= 4
        await notified_by(ws.receive)

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == []


# contract: D1
async def test_an_abnormal_end_ends_a_loop_with_an_error() -> None:
    cause = OSError("mine")
    server = testing.Server(faults=[testing.FailSend(2, cause)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(ws.send, "x")
        async for _ in ws:
            pytest.fail("there is nothing")

    ended = await block(server, body)
    assert ended.own.__cause__ is cause


# contract: D1, X3
@pytest.mark.parametrize("senders", [2, 10, 100])
async def test_many_senders_one_exception(senders: int) -> None:
    cause = OSError("mine")
    server = testing.Server(faults=[testing.FailSend(3, cause)])

    async def sender(ws: WebSocket, name: int) -> None:
        while True:
            await ws.send(str(name))

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for name in range(senders):
            ws.start_soon(sender, ws, name)
        async with anyio.create_task_group() as tasks:
            for name in range(senders):
                tasks.start_soon(sender, ws, name)

    ended = await block(server, body)
    assert ended.own.__cause__ is cause
    assert len(server.transcript.from_app) == 1


# contract: D1
async def test_a_busy_reader_is_cancelled_by_an_abnormal_end() -> None:
    server = testing.Server()
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("a")
        ws.start_soon(fail, ws)
        async for _ in ws:
            await log.sleeper("body")

    async def fail(ws: WebSocket) -> None:
        await anyio.sleep(3)
        with server.inject(testing.FailSend(1, OSError("mine"))):
            await ws.send("x")

    ended = await block(server, body)
    assert log.moments == {"body": 3}
    assert isinstance(ended.own.__cause__, OSError)


# contract: D1
async def test_a_task_notified_of_an_abnormal_end_has_the_grace_period() -> None:
    server = testing.Server(faults=[testing.FailSend(2, OSError("mine"))])
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep(1)
        try:
            await ws.send("x")
        except WebSocketDisconnected:
            await anyio.sleep(4)
            log.note("may await")
            await log.sleeper("cancelled")

    ended = await block(server, body, grace_period=7)
    assert log.moments == {"may await": 5, "cancelled": 8}
    assert ended.at == about(8)


# D2: a clean end, nothing unread, and no task has ever read


# contract: D2
@by_any
async def test_no_task_ever_read(personality: testing.Personality) -> None:
    server = testing.Server(personality=personality)
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)
        await log.sleeper("body")

    ended = await block(server, body, (3, server.peer.vanish))
    assert log.moments == {"sleeper": 3, "body": 3}
    assert ended.own.code == personality.loss_code
    assert ended.own.reason == ""
    assert ended.own.__cause__ is None
    assert ended.own.undelivered == 0
    assert ended.at == about(3)
    assert closes(server) == []


# contract: D2
async def test_clean_up_of_the_cancelled_runs_before_the_block_is_left() -> None:
    server = testing.Server()
    log = Log()

    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)
            log.note("child")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child)
        await child_like(log)

    async def child_like(log: Log) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
            log.note("body")

    ended = await block(server, body, (3, server.peer.vanish))
    assert log.moments == {"body": 4, "child": 5}
    assert ended.own.code == 1006
    assert ended.at == about(5)


# contract: D2
@pytest.mark.parametrize("waiting", ["send", "flush"])
async def test_a_task_that_waits_in_send_is_notified_at_a_clean_end(waiting: str) -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on)])
    log = Log()

    async def child(ws: WebSocket) -> None:
        error = await notified_by((lambda: ws.send("2")) if waiting == "send" else ws.flush)
        log.note("notified")
        assert error.code == 4001
        await anyio.sleep(2)
        log.note("unwound")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("1")
        ws.start_soon(child, ws)
        await log.sleeper("body")

    ended = await block(server, body, (3, lambda: server.peer.close(4001)), (4, go_on.set))
    assert log.moments["notified"] == log.moments["body"] == 3
    assert log.moments["unwound"] == 5
    assert ended.own.code == 4001


# contract: D2
async def test_messages_queued_for_a_peer_that_left_are_counted() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(10):
            ws.send_nowait(str(number))
        await anyio.sleep_forever()

    ended = await block(server, body, (3, server.peer.vanish), (4, go_on.set))
    assert ended.own.undelivered in (9, 10)
    assert str(ended.own.undelivered) in str(ended.own)


# D3: a clean end, with readers


# contract: D3
@by_any
async def test_a_reader_that_waits_is_notified_at_once(personality: testing.Personality) -> None:
    server = testing.Server(personality=personality)
    log = Log()

    async def reader(ws: WebSocket) -> None:
        async for _ in ws:
            pass
        log.note("reader")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(reader, ws)
        await log.sleeper("body")

    ended = await block(server, body, (3, server.peer.vanish))
    assert log.moments == {"reader": 3, "body": 3}
    assert ended.own.code == personality.loss_code


# contract: D3
@by_any
async def test_a_busy_reader_finishes_what_is_unread(personality: testing.Personality) -> None:
    server = testing.Server(personality=personality)
    log = Log()
    got: list[str | bytes] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)
        for text in "abc":
            server.peer.send_nowait(text)
        async for message in ws:
            got.append(message)
            await anyio.sleep(2)
        log.note("body")

    ended = await block(server, body, (3, server.peer.vanish))
    assert got == ["a", "b", "c"]
    assert log.moments == {"sleeper": 6, "body": 6}
    assert ended.error is None
    assert ended.at == about(6)


# contract: D3
async def test_readers_have_at_most_the_grace_period() -> None:
    server = testing.Server()
    log = Log()
    got: list[str | bytes] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)
        for text in "abcdefgh":
            server.peer.send_nowait(text)
        try:
            async for message in ws:
                got.append(message)
                await anyio.sleep(2)
        finally:
            log.note("body")

    ended = await block(server, body, (3, server.peer.vanish), grace_period=5)
    assert got == ["a", "b", "c", "d"]
    assert log.moments == {"sleeper": 8, "body": 8}
    assert ended.own.code == 1006
    assert ended.at == about(8)


# contract: D3
async def test_a_reader_that_finished_counts() -> None:
    """It read once and has returned: no other task would ever read."""
    server = testing.Server()
    log = Log()

    async def reads_once(ws: WebSocket) -> None:
        await ws.receive()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(reads_once, ws)
        server.peer.send_nowait("a")
        await log.sleeper("body")

    ended = await block(server, body, (3, server.peer.vanish))
    assert log.moments == {"body": 3}
    assert ended.own.code == 1006


# contract: D3
async def test_the_last_of_several_readers_counts() -> None:
    server = testing.Server()
    log = Log()

    async def reader(ws: WebSocket, name: str, seconds: float) -> None:
        try:
            await ws.receive()
            await anyio.sleep(seconds)
        finally:
            log.note(name)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for name, seconds in (("quick", 4), ("slow", 6)):
            ws.start_soon(reader, ws, name, seconds)
            await anyio.lowlevel.checkpoint()
            server.peer.send_nowait(name)
            await anyio.sleep(0.5)
        await log.sleeper("body")

    ended = await block(server, body, (3, server.peer.vanish))
    assert log.moments == {"quick": 4, "slow": 6.5, "body": 6.5}
    assert ended.own.code == 1006


# contract: D3
async def test_a_notified_task_may_unwind_for_the_grace_period() -> None:
    server = testing.Server()
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.receive()
        except WebSocketDisconnected:
            await anyio.sleep(4)
            log.note("may await")
            await log.sleeper("cancelled")

    ended = await block(server, body, (3, server.peer.vanish), grace_period=5)
    assert log.moments == {"may await": 7, "cancelled": 8}
    assert ended.at == about(8)


# contract: D3
async def test_no_grace_period() -> None:
    server = testing.Server()
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("a")
        async for _ in ws:
            await log.sleeper("body")

    ended = await block(server, body, (3, server.peer.vanish), grace_period=0)
    assert log.moments == {"body": 3}
    assert ended.own.code == 1006


# contract: D3
async def test_unread_messages_that_no_task_has_begun_to_read() -> None:
    """A task may still read them, within the grace period."""
    server = testing.Server()
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)
        server.peer.send_nowait("a")
        await anyio.sleep(5)
        assert await ws.receive() == "a"
        await notified_by(ws.receive)
        log.note("body")

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.error is None
    assert log.moments == {"sleeper": 5, "body": 5}


# contract: D3
async def test_unread_messages_that_no_task_ever_reads() -> None:
    server = testing.Server()
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("a")
        await log.sleeper("body")

    ended = await block(server, body, (3, server.peer.vanish), grace_period=5)
    assert log.moments["body"] <= 8
    assert ended.own.code == 1006


# contract: D3
async def test_a_group_in_the_body_is_part_of_the_body() -> None:
    server = testing.Server()
    log = Log()

    async def reader(ws: WebSocket) -> None:
        async for _ in ws:
            await anyio.sleep(4)
        log.note("reader")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader, ws)
            tasks.start_soon(log.sleeper)

    ended = await block(server, body, (3, server.peer.vanish))
    assert log.moments["reader"] == 4
    assert 4 <= log.moments["sleeper"] <= 8
    assert ended.at <= 8.1


# D4: children


# contract: D4
@by_basic
async def test_a_child_that_lets_it_escape_has_simply_ended(
    personality: testing.Personality,
) -> None:
    server = testing.Server(personality=personality)
    log = Log()
    got: list[str | bytes] = []

    async def child(ws: WebSocket) -> None:
        try:
            while True:
                await ws.send("tick")
                await anyio.sleep(0.5)
        except WebSocketDisconnected:
            log.note("child")
            raise

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        for text in "abc":
            server.peer.send_nowait(text)
        async for message in ws:
            got.append(message)
            await anyio.sleep(2)
        log.note("body")

    ended = await block(server, body, (3.25, server.peer.vanish))
    assert got == ["a", "b", "c"]
    assert log.moments == {"child": 3.5, "body": 6}
    assert ended.error is None


# contract: D4, X3
async def test_it_may_escape_from_a_group_of_the_child() -> None:
    server = testing.Server()
    got: list[str | bytes] = []

    async def child(ws: WebSocket) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ticker, ws)
            tasks.start_soon(ticker, ws)

    async def ticker(ws: WebSocket) -> None:
        while True:
            await ws.send("tick")
            await anyio.sleep(0.5)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        for text in "abc":
            server.peer.send_nowait(text)
        async for message in ws:
            got.append(message)
            await anyio.sleep(2)

    ended = await block(server, body, (3.25, server.peer.vanish))
    assert got == ["a", "b", "c"]
    assert ended.error is None


# contract: D4
async def test_a_child_that_starts_and_lets_it_escape_from_start() -> None:
    server = testing.Server()

    async def child(ws: WebSocket, *, task_status: Any) -> None:
        await ws.receive()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.start(child, ws)

    ended = await block(server, body, (3, lambda: server.peer.close(4001)))
    assert ended.own.code == 4001


# D5: when the block raises


# contract: D5
@by_any
@pytest.mark.parametrize("leave", ["close", "vanish"])
async def test_silent_when_the_loop_ran_out(personality: testing.Personality, leave: str) -> None:
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass

    ended = await block(server, body, (3, getattr(server.peer, leave)))
    assert ended.error is None
    assert closes(server) == []


# contract: D5
@by_any
@pytest.mark.parametrize("call", ["receive", "send", "flush"])
async def test_silent_when_it_was_caught(personality: testing.Personality, call: str) -> None:
    go_on = anyio.Event()
    server = testing.Server(personality=personality, faults=[testing.StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        if call == "flush":
            ws.send_nowait("x")
        await notified_by((lambda: ws.send("x")) if call == "send" else getattr(ws, call))
        await anyio.sleep(1)

    ended = await block(server, body, (3.5, server.peer.vanish), (4, go_on.set))
    assert ended.error is None
    assert ended.at == about(4.5)


# contract: D5
async def test_silent_when_the_body_had_finished_before() -> None:
    server = testing.Server()
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(log.sleeper)

    ended = await block(server, body, (3, server.peer.vanish))
    assert log.moments == {"sleeper": 3}
    assert ended.error is None


# contract: D5
async def test_silent_when_the_cancellation_never_reached_the_body() -> None:
    """As with fail_after: it was shielded, and then it had finished."""
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(5)

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.error is None
    assert ended.at == about(5)


# contract: D5
async def test_raises_when_it_escaped() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()

    ended = await block(server, body, (3, lambda: server.peer.close(4001, "bye")))
    assert (ended.own.code, ended.own.reason) == (4001, "bye")


# contract: D5
@pytest.mark.parametrize("caught", [True, False])
async def test_raises_when_a_child_was_notified_but_the_body_was_interrupted(caught: bool) -> None:
    server = testing.Server()

    async def child(ws: WebSocket) -> None:
        if caught:
            with suppress(WebSocketDisconnected):
                await ws.receive()
        else:
            await ws.receive()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, ws)
        await anyio.sleep_forever()

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.own.code == 1006


# contract: D5, C4
async def test_raises_when_messages_were_lost_without_a_notification() -> None:
    cause = OSError("mine")
    server = testing.Server(faults=[testing.FailSend(3, cause)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(5):
            ws.send_nowait(str(number))

    ended = await block(server, body)
    assert ended.own.__cause__ is cause
    assert ended.own.code is None
    assert ended.own.undelivered in (3, 4)
    assert server.transcript.from_app == ["0"]


# contract: D5, C4
async def test_raises_when_the_peer_left_during_the_last_flush() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(5):
            ws.send_nowait(str(number))

    leave = (3.0, lambda: server.peer.close(4001, "bye"))
    ended = await block(server, body, leave, (3.5, go_on.set))
    assert (ended.own.code, ended.own.reason) == (4001, "bye")
    assert ended.own.undelivered in (4, 5)
    assert ended.at <= 5.1


# contract: D5
async def test_lost_messages_are_not_reported_after_a_notification() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(5):
            ws.send_nowait(str(number))
        error = await notified_by(ws.receive)
        assert error.undelivered in (4, 5)

    ended = await block(server, body, (3, server.peer.vanish), (3.5, go_on.set))
    assert ended.error is None


# D6: first facts win


# contract: D6
@by_any
async def test_the_code_and_reason_of_the_server(personality: testing.Personality) -> None:
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await notified_by(ws.receive)
        await anyio.sleep(1)
        error = await notified_by(ws.receive)
        code = 4001 if personality.close_code == "peer" else personality.close_code
        reason = "bye" if personality.reports_reason else ""
        assert (error.code, error.reason) == (code, reason)
        assert (ws.close_code, ws.close_reason) == (code, reason)

    ended = await block(server, body, (3, lambda: server.peer.close(4001, "bye")))
    assert ended.error is None


# contract: D6
@pytest.mark.parametrize(
    "personality",
    [testing.DAPHNE, replace(testing.SILENT, reports_code=False)],
    ids=["None", "missing"],
)
async def test_a_code_that_was_not_given_is_none(personality: testing.Personality) -> None:
    server = testing.Server(personality=personality)
    kept: list[WebSocket] = []

    async def body(ws: WebSocket) -> None:
        kept.append(ws)
        await ws.accept()
        await anyio.sleep_forever()

    ended = await block(server, body, (3, lambda: server.peer.close(None)))
    assert ended.own.code is None
    assert kept[0].close_code is None
    assert "1000" not in str(ended.own)


# contract: D6
@pytest.mark.parametrize("event", [{"code": None, "reason": None}, {"reason": None}, {}])
async def test_a_reason_that_was_not_given_is_empty(event: dict[str, Any]) -> None:
    event = {"type": "websocket.disconnect", **event}
    server = testing.Server(faults=[testing.Garbage(2, event)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()

    ended = await block(server, body)
    assert (ended.own.code, ended.own.reason) == (None, "")


# contract: D6
@by_any
async def test_an_echo_never_replaces_your_own_close(personality: testing.Personality) -> None:
    """After your own close with 4002, Hypercorn reports 1000 and granian 1005."""
    server = testing.Server(personality=personality)
    kept: list[WebSocket] = []

    async def body(ws: WebSocket) -> None:
        kept.append(ws)
        await ws.accept()
        await ws.close(4002, "mine")
        await anyio.sleep(1)

    ended = await block(server, body)
    assert ended.error is None
    assert (kept[0].close_code, kept[0].close_reason) == (4002, "mine")


# contract: D6
async def test_the_facts_of_an_abnormal_end_are_not_replaced() -> None:
    """The server raises first, and reports a disconnect with a code much later."""
    server = testing.Server(faults=[testing.FailSend(2, OSError("mine"))])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await notified_by(lambda: ws.send("x"))
        server.peer.close(4001, "late")
        await anyio.sleep(1)
        error = await notified_by(lambda: ws.send("y"))
        assert (error.code, error.reason) == (None, "")
        assert ws.close_code is None

    ended = await block(server, body)
    assert ended.error is None


# D7: before accept


# contract: D7
@by_any
async def test_gone_before_accept(personality: testing.Personality) -> None:
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        server.peer.vanish()
        error = await notified_by(ws.accept)
        assert error.code == personality.loss_code
        raise error

    ended = await block(server, body)
    assert ended.own.code == personality.loss_code
    assert not server.peer.accepted
    assert closes(server) == []


# contract: D7
@by_any
async def test_gone_while_the_body_decides(personality: testing.Personality) -> None:
    server = testing.Server(personality=personality)
    log = Log()

    async def body(ws: WebSocket) -> None:
        await log.sleeper("body")

    ended = await block(server, body, (3, server.peer.vanish))
    assert log.moments == {"body": 3}
    assert ended.own.code == personality.loss_code
    assert closes(server) == []


# contract: D7
async def test_gone_while_the_accept_is_under_way() -> None:
    go_on = anyio.Event()
    server = testing.Server(
        personality=testing.RAISES_OSERROR, faults=[testing.StallSend(1, go_on)]
    )

    def leave() -> None:
        server.peer.vanish()
        go_on.set()

    async def body(ws: WebSocket) -> None:
        raise await notified_by(ws.accept)

    ended = await block(server, body, (3, leave))
    assert isinstance(ended.own, ConnectionError)
    assert closes(server) == []


# contract: D7, D1
async def test_the_accept_itself_fails() -> None:
    cause = OSError("mine")
    server = testing.Server(faults=[testing.FailSend(1, cause)])

    async def body(ws: WebSocket) -> None:
        error = await notified_by(ws.accept)
        assert error.__cause__ is cause
        raise error

    ended = await block(server, body)
    assert ended.own.__cause__ is cause
    assert not server.peer.accepted


# contract: D7
async def test_a_disconnect_instead_of_the_connect() -> None:
    event = {"type": "websocket.disconnect", "code": 1006}
    server = testing.Server(faults=[testing.Garbage(1, event)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()

    ended = await block(server, body)
    assert ended.own.code == 1006
    assert not server.peer.accepted


# D8: one outcome


async def pushes(ws: WebSocket) -> None:
    while True:
        await ws.send("tick")
        await anyio.sleep(1)


async def pushes_in_a_child(ws: WebSocket) -> None:
    ws.start_soon(pushes, ws)
    async for _ in ws:
        pass


async def pushes_in_a_child_of_a_sleeper(ws: WebSocket) -> None:
    ws.start_soon(pushes, ws)
    await anyio.sleep_forever()


async def echoes(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)
        await anyio.sleep(1)


async def catches(ws: WebSocket) -> None:
    with suppress(WebSocketDisconnected):
        await pushes(ws)


async def sleeps(ws: WebSocket) -> None:
    await anyio.sleep_forever()


async def fills_up(ws: WebSocket) -> None:
    """A raw send waits for the peer when it leaves."""
    for number in range(20):
        ws.send_nowait(str(number))
    async for _ in ws:
        pass


async def fills_up_and_waits(ws: WebSocket) -> None:
    while True:
        await ws.send("x")


async def fills_up_in_a_child(ws: WebSocket) -> None:
    ws.start_soon(fills_up_and_waits, ws)
    async for _ in ws:
        pass


async def fills_up_and_reads_later(ws: WebSocket) -> None:
    ws.start_soon(fills_up_and_waits, ws)
    async for _ in ws:
        await anyio.sleep(2)


HANDLERS = [
    pushes,
    pushes_in_a_child,
    pushes_in_a_child_of_a_sleeper,
    echoes,
    catches,
    sleeps,
    fills_up,
    fills_up_and_waits,
    fills_up_in_a_child,
    fills_up_and_reads_later,
]


async def facts(
    personality: testing.Personality,
    handler: Callable[[WebSocket], Awaitable[None]],
    moment: float,
) -> tuple[object, ...]:
    server = testing.Server(personality=personality, send_queue=12)
    kept: list[WebSocket] = []
    started = anyio.current_time()

    async def body(ws: WebSocket) -> None:
        kept.append(ws)
        await ws.accept()
        for text in "abc":
            server.peer.send_nowait(text)
        await handler(ws)

    ended = await block(server, body, (started + moment, lambda: server.peer.close(4001, "bye")))
    facts = (type(ended.error), kept[0].close_code, kept[0].close_reason, *closes(server))
    if isinstance(ended.error, WebSocketDisconnected):
        facts += (ended.error.code, ended.error.reason)
    return facts


# contract: D8
@pytest.mark.parametrize("moment", [2.5, 3])
@pytest.mark.parametrize("handler", HANDLERS)
async def test_one_and_the_same_outcome(
    handler: Callable[[WebSocket], Awaitable[None]], moment: float
) -> None:
    """Also when a raw send is in flight, or begins, at the moment at which the peer leaves."""
    silent, *others = [
        await facts(personality, handler, moment) for personality in testing.BASIC for _ in range(8)
    ]
    for other in others:
        assert other == silent


# contract: D8
@pytest.mark.parametrize("call", range(2, 12))
async def test_one_and_the_same_outcome_when_it_vanishes_at_a_call(call: int) -> None:
    async def body(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send("x")

    outcomes = set()
    for personality in testing.BASIC:
        server = testing.Server(personality=personality, faults=[testing.VanishAt(call)])
        ended = await block(server, body)
        outcomes.add((type(ended.error), ended.own.code, ended.own.reason))
    assert outcomes == {(WebSocketDisconnected, 1006, "")}


# D9: tolerant and strict


class Foreign(Exception):
    """An exception that is not an OSError and is in no table."""


# contract: D9
@pytest.mark.parametrize("strict", [False, True])
async def test_an_oserror_means_gone(strict: bool) -> None:
    cause = OSError("mine")
    server = testing.Server(faults=[testing.FailSend(2, cause)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    ended = await block(server, body, strict=strict)
    assert ended.own.__cause__ is cause


# contract: D9
@pytest.mark.parametrize("kind", [Foreign, RuntimeError, AssertionError])
async def test_tolerant_anything_means_gone_if_the_disconnect_arrives_at_once(
    kind: type[Exception],
) -> None:
    cause = kind("mine")
    server = testing.Server(faults=[testing.FailSend(2, cause, vanish=True)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    ended = await block(server, body)
    assert ended.own.__cause__ in (cause, None)


# contract: D9
@pytest.mark.parametrize("kind", [Foreign, RuntimeError, AssertionError])
async def test_strict_it_leaves_as_itself(kind: type[Exception]) -> None:
    cause = kind("mine")
    server = testing.Server(faults=[testing.FailSend(2, cause, vanish=True)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    ended = await block(server, body, strict=True)
    assert ended.error is cause


# contract: D9
@pytest.mark.parametrize("kind", [Foreign, RuntimeError, AssertionError])
@pytest.mark.parametrize("strict", [False, True])
async def test_without_a_disconnect_it_leaves_as_itself(
    kind: type[Exception], strict: bool
) -> None:
    cause = kind("mine")
    server = testing.Server(faults=[testing.FailSend(2, cause)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(kind) as caught:
            await ws.send("x")
        assert caught.value is cause
        await ws.send("still here")

    ended = await block(server, body, strict=strict)
    assert ended.error is None
    assert server.transcript.from_app == ["still here"]


# contract: D9
async def test_tolerant_the_server_table_lists_it() -> None:
    cause = RuntimeError(UVICORN_TEXT)
    server = testing.Server(faults=[testing.FailSend(2, cause)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    ended = await block(server, body)
    assert ended.own.__cause__ is cause


# contract: D9
async def test_strict_ignores_the_server_table() -> None:
    cause = RuntimeError(UVICORN_TEXT)
    server = testing.Server(faults=[testing.FailSend(2, cause)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    ended = await block(server, body, strict=True)
    assert ended.error is cause


async def swallowed(spec_version: str, strict: bool, log: pytest.LogCaptureFixture) -> list[str]:
    """Let a server swallow a raw send to a peer that is gone; give the warnings."""
    server = testing.Server(personality=replace(testing.SILENT, spec_version=spec_version))

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await notified_by(ws.receive)
        for _ in range(3):
            await notified_by(lambda: ws.send("x"))
        await anyio.sleep(2)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = await block(server, body, (3, server.peer.vanish), strict=strict)
    assert ended.error is None
    logged = [r.getMessage() for r in log.records if r.levelno == logging.WARNING]
    return [*logged, *(str(warning.message) for warning in caught)]


# contract: D9
async def test_strict_a_swallowed_send_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    reports = await swallowed("2.4", True, caplog)
    assert len(reports) == 1
    assert "2.4" in reports[0]


# contract: D9
@pytest.mark.parametrize(("spec_version", "strict"), [("2.3", True), ("2.4", False)])
async def test_a_swallowed_send_is_no_news_elsewhere(
    spec_version: str, strict: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert await swallowed(spec_version, strict, caplog) == []
