"""The sender: one raw send at a time, in order, and what a raw send that fails means."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.asgi._sockets import TRIO, Socket, send_over, tcp_server
from tests.contract._bench import about, block, closes
from wsnursery import WebSocket, WebSocketDisconnected, hooks, open_websocket, testing
from wsnursery.asgi._extension import EXTENSION, ServerExtension
from wsnursery.testing import FailSend, StallSend


async def hold(ws: WebSocket) -> None:
    """Accept, and stay."""
    await ws.accept()
    await anyio.sleep_forever()


def sending(message: str | bytes) -> Callable[[WebSocket], Awaitable[None]]:
    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send(message)

    return body


def pushing(*messages: str) -> Callable[[WebSocket], Awaitable[None]]:
    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for message in messages:
            ws.send_nowait(message)

    return body


# contract: S1
async def test_messages_go_out_in_order() -> None:
    server = testing.Server(send_queue=100)
    ended = await block(server, pushing(*map(str, range(100))), send_buffer=100)
    assert ended.error is None
    assert server.transcript.from_app == [str(number) for number in range(100)]


# contract: S4
async def test_a_fence_waits_for_what_is_before_it() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(3, go_on)])
    flushed: list[float] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.flush()
        ws.send_nowait("1")
        ws.send_nowait("2")
        await ws.flush()
        flushed.append(anyio.current_time())

    ended = await block(server, body, (4, go_on.set))
    assert ended.error is None
    assert flushed == [4]


# contract: S2
@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
async def test_a_refused_message_is_its_callers(kind: type[Exception]) -> None:
    error = kind("mine")
    server = testing.Server(faults=[FailSend(2, error)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(kind) as caught:
            await ws.send("refused")
        assert caught.value is error
        await ws.send("taken")
        assert (ws.statistics().messages_sent, ws.statistics().bytes_sent) == (1, 5)

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["taken"]


# contract: S2, X1
async def test_a_refused_message_without_a_waiting_call_leaves_through_the_block() -> None:
    error = ValueError("mine")
    server = testing.Server(faults=[FailSend(2, error)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("refused")
        await anyio.sleep_forever()

    ended = await block(server, body)
    assert ended.error is error
    assert closes(server) == ["app close 1011"]


async def test_a_refused_accept_is_its_callers_and_closes() -> None:
    """A server crashes if a handshake stays half-answered."""
    error = ValueError("mine")
    server = testing.Server(faults=[FailSend(1, error)])

    async def body(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="mine"):
            await ws.accept()
        await anyio.sleep(1)
        assert len(closes(server)) == 1  # at once, and not when the block is left

    ended = await block(server, body)
    assert ended.error is None
    assert len(closes(server)) == 1


async def test_the_handshake_is_not_answered_at_once() -> None:
    """Hypercorn's trio worker crashes if it reads data after the handshake during the answer."""
    server, turns, moments = testing.Server(), 0, list[int]()
    raw_receive, raw_send = server.receive, server.send

    async def receive() -> Mapping[str, Any]:
        event = await raw_receive()
        moments.append(turns)
        return event

    async def send(event: Mapping[str, Any]) -> None:
        moments.append(turns)
        await raw_send(event)

    async def count() -> None:
        nonlocal turns
        for turns in range(100):  # noqa: B007 - it is read elsewhere
            await anyio.lowlevel.checkpoint()

    server.receive, server.send = receive, send
    async with anyio.create_task_group() as outside:
        outside.start_soon(count)
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
    connect, accept, *_ = moments
    assert 4 <= accept - connect < 10


# contract: C4
async def test_a_refused_close_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    server = testing.Server(faults=[FailSend(2, ValueError("mine"))])
    with caplog.at_level(logging.DEBUG, "wsnursery"):
        ended = await block(server, WebSocket.accept)
    assert ended.error is None
    assert ended.at == about(0)
    assert "the server refused the close: ValueError('mine')" in caplog.text


# contract: D8
async def test_a_close_that_the_gone_peer_makes_fail_is_not_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = testing.Server(faults=[FailSend(2, ValueError("mine"), vanish=True)])
    with caplog.at_level(logging.DEBUG, "wsnursery"):
        ended = await block(server, WebSocket.accept)
    assert ended.error is None
    assert "refused" not in caplog.text


# contract: D1
async def test_an_oserror_means_gone() -> None:
    error = ConnectionResetError()
    server = testing.Server(faults=[FailSend(2, error)])
    ended = await block(server, sending("x"))
    assert ended.own.__cause__ is error
    assert (ended.own.code, ended.own.undelivered) == (None, 1)
    assert closes(server) == []


# contract: D9
@pytest.mark.parametrize("strict", [False, True])
async def test_an_error_with_a_disconnect_beside_it(strict: bool) -> None:
    """Tolerant: the peer is gone, and the disconnect has the code. Strict: it leaves unchanged."""
    error = RuntimeError("mine")
    server = testing.Server(faults=[FailSend(2, error, vanish=True)])
    ended = await block(server, sending("x"), strict=strict)
    if strict:
        assert ended.error is error
    else:
        assert ended.own.__cause__ in (error, None)
        assert ended.own.code == server.personality.loss_code


# contract: S10
async def test_a_raw_send_that_takes_too_long() -> None:
    server = testing.Server(faults=[StallSend(2)])
    ended = await block(server, sending("x"), send_timeout=3)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert str(ended.own.__cause__) == "the server took no message within 3 s"
    assert ended.at == about(3)
    assert closes(server) == []


# contract: S10
async def test_an_accept_that_takes_too_long() -> None:
    ended = await block(testing.Server(faults=[StallSend(1)]), hold, send_timeout=3)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert ended.at == about(3)


# contract: S3, D1
async def test_a_raw_send_is_given_up_at_the_end_and_not_when_the_block_is_left() -> None:
    server, given_up = testing.Server(), list[float]()
    raw_send = server.send

    async def stuck(event: Mapping[str, Any]) -> None:
        if event["type"] == "websocket.send":
            try:
                await anyio.sleep_forever()
            finally:
                given_up.append(anyio.current_time())
        await raw_send(event)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(WebSocketDisconnected):
            await ws.send("x")
        await anyio.sleep(1)

    server.send = stuck
    ended = await block(server, body, (2, server.peer.vanish))
    assert given_up == [2]
    assert ended.at == about(3)


# contract: D1
async def test_an_end_before_anything_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    server = testing.Server(faults=[testing.FailReceive(1, OSError())])
    ended = await block(server, hold)
    assert isinstance(ended.own.__cause__, OSError)
    assert ended.at == about(0)
    assert caplog.records == []


# contract: S10
async def test_every_raw_send_has_its_own_time() -> None:
    server = testing.Server()

    send = server.send

    async def slow(event: Mapping[str, Any]) -> None:
        await anyio.sleep(2)
        await send(event)

    server.send = slow
    ended = await block(server, pushing("1", "2", "3"), send_timeout=3, close_timeout=60)
    assert ended.error is None
    assert server.transcript.from_app == ["1", "2", "3"]
    assert ended.at == about(10)


# contract: S10
@pytest.mark.parametrize("others", [1, 2])
async def test_a_late_one_after_others_that_were_not(others: int) -> None:
    """One alarm serves all raw sends: it counts from the one in flight."""
    server = testing.Server(faults=[StallSend(2 + others)])
    send, delays = server.send, [0.0, *[2.0] * others]

    async def slow(event: Mapping[str, Any]) -> None:
        await anyio.sleep(delays.pop(0) if delays else 0)
        await send(event)

    server.send = slow

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(others):
            await ws.send("x")
        await ws.send("stuck")

    ended = await block(server, body, send_timeout=3)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert ended.at == about(2 * others + 3)


# contract: S10
async def test_a_late_one_after_silence() -> None:
    server = testing.Server(faults=[StallSend(3)])
    send = server.send

    async def slow(event: Mapping[str, Any]) -> None:
        await anyio.sleep(1)
        await send(event)

    server.send = slow

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("1")
        await anyio.sleep(40)
        await ws.send("stuck")

    ended = await block(server, body, send_timeout=3)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert ended.at == about(45)


# contract: S10
async def test_a_raw_send_has_its_time_when_it_begins_at_the_alarm_of_another() -> None:
    server = testing.Server()
    send, delays = server.send, [0.0, 0.0, 1.0]

    async def slow(event: Mapping[str, Any]) -> None:
        await anyio.sleep(delays.pop(0) if delays else 0)
        await send(event)

    server.send = slow

    async def later(ws: WebSocket) -> None:
        await anyio.sleep(3)
        await ws.send("2")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(later, ws)
        await anyio.wait_all_tasks_blocked()
        await ws.send("1")  # the same moment on the clock: its alarm comes right after `later`

    ended = await block(server, body, send_timeout=3)
    assert ended.error is None
    assert server.transcript.from_app == ["1", "2"]


# contract: S9
async def test_the_inbox_may_overflow_while_a_raw_send_is_under_way() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(4):
            server.peer.send_nowait("x")
        await anyio.wait_all_tasks_blocked()
        assert ws.statistics().receive_buffer_used == 1
        ws.start_soon(ws.send, "stuck")
        await anyio.wait_all_tasks_blocked()
        assert ws.statistics().receive_buffer_used == 2
        go_on.set()
        for _ in range(4):
            assert await ws.receive() == "x"

    assert (await block(server, body, receive_buffer=1)).error is None


async def test_no_send_timeout() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(2, go_on)])
    ended = await block(server, sending("x"), (1e6, go_on.set), send_timeout=None)
    assert ended.error is None
    assert ended.at == about(1e6)


# contract: S10, C5
@pytest.mark.parametrize(("send_timeout", "at"), [(None, 1 + 2 + 1), (2.5, 2.5)])
async def test_what_cannot_be_taken_back_is_dropped(
    send_timeout: float | None, at: float, caplog: pytest.LogCaptureFixture
) -> None:
    """At once with `send_timeout`, otherwise after STUCK_SECONDS."""
    freed = anyio.Event()
    server = testing.Server(faults=[StallSend(2, freed, shielded=True)])
    below = tcp_server(TRIO, Socket(on_close=freed.set))
    server.scope["extensions"] = {EXTENSION: ServerExtension(send_over(below))}

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("x")
        await anyio.sleep(1)

    ended = await block(server, body, send_timeout=send_timeout, close_timeout=2)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert ended.at == about(at)
    assert caplog.records == []


# contract: S10
async def test_a_raw_send_that_comes_back_in_time(caplog: pytest.LogCaptureFixture) -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(2, go_on, shielded=True)])
    ended = await block(server, sending("x"), (3.5, go_on.set), send_timeout=3)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert ended.at == about(3.5)
    assert caplog.records == []


# contract: S3, D1
@pytest.mark.parametrize("outcome", ["taken", "raises"])
@pytest.mark.parametrize("strict", [False, True])
async def test_the_outcome_of_a_raw_send_after_the_end_is_ignored(
    outcome: str, strict: bool
) -> None:
    """The end has already been reported, and is not reported twice."""
    go_on = anyio.Event()
    stall = StallSend(2, go_on, shielded=True)
    faults = [stall] if outcome == "taken" else [stall, FailSend(2, ValueError("late"))]
    server = testing.Server(faults=faults)
    ended = await block(
        server, sending("x"), (1, server.peer.vanish), (1.5, go_on.set), strict=strict
    )
    assert ended.own.undelivered == 1
    assert ended.own.__cause__ is None


# contract: C1, R7
@pytest.mark.parametrize("checkpoints", range(7))
async def test_a_close_that_the_disconnect_has_overtaken_is_not_sent(checkpoints: int) -> None:
    """The receiver gets it while it is cancelled for the close."""
    server = testing.Server(personality=testing.GRANIAN, faults=[testing.Delay(checkpoints)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.vanish()
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        await ws.close(4000)

    ended = await block(server, body)
    assert closes(server) in ([], ["app close 4000"])
    assert ended.error is None or ended.own.code != 4000


# contract: D6
@pytest.mark.parametrize(("goes_out", "code"), [(True, 4000), (False, testing.SILENT.loss_code)])
async def test_the_own_code_counts_from_when_it_goes_out(goes_out: bool, code: int) -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[StallSend(3 if goes_out else 2, go_on)])
    websockets: list[WebSocket] = []

    async def body(ws: WebSocket) -> None:
        websockets.append(ws)
        await ws.accept()
        ws.send_nowait("x")
        ws.start_soon(ws.close, 4000)
        await anyio.sleep(3)

    await block(server, body, (1, server.peer.vanish), (2, go_on.set))
    assert [ws.close_code for ws in websockets] == [code]


# contract: D6, C5
@pytest.mark.parametrize(("is_taken", "code"), [(True, 4000), (False, None)])
async def test_a_code_that_was_never_sent_is_none(is_taken: bool, code: int | None) -> None:
    server = testing.Server(answers_close=False, faults=[] if is_taken else [StallSend(2)])
    states: list[object] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000)
        states.append(ws.state)
        await anyio.sleep(3)
        states.extend([ws.state, ws.close_code])

    ended = await block(server, body, close_timeout=2)
    assert ended.error is None
    assert states == ["closing" if is_taken else "closed", "closed", code]


# contract: R7
@pytest.mark.parametrize("body", [WebSocket.accept, hold])
async def test_a_receive_that_blocks_the_close_is_cancelled_first(
    body: Callable[[WebSocket], Awaitable[None]],
) -> None:
    server = testing.Server(personality=testing.GRANIAN)
    ended = await block(server, body, (3, server.peer.vanish))
    assert (ended.error is None) is (body is WebSocket.accept)
    assert closes(server) == (["app close 1000"] if body is WebSocket.accept else [])


# contract: R7
async def test_a_receive_that_cannot_be_cancelled_is_waited_for_a_little() -> None:
    """The receive takes some checkpoints to end; the close is still sent."""
    server = testing.Server(personality=testing.GRANIAN)
    receive = server.receive

    async def slow() -> Mapping[str, Any]:
        try:
            return await receive()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()

    server.receive = slow
    ended = await block(server, WebSocket.accept)
    assert ended.error is None
    assert closes(server) == ["app close 1000"]


# contract: R7
async def test_no_task_is_in_receive_when_the_close_is_sent() -> None:
    """Granian's close waits for a pending receive."""
    server = testing.Server(personality=testing.GRANIAN)
    raw_receive, raw_send = server.receive, server.send
    receiving, seen = False, list[bool]()

    async def receive() -> Mapping[str, Any]:
        nonlocal receiving
        receiving = True
        try:
            return await raw_receive()
        finally:
            receiving = False

    async def send(event: Mapping[str, Any]) -> None:
        seen.append(receiving)
        await raw_send(event)

    server.receive, server.send = receive, send
    assert (await block(server, sending("x"))).error is None
    assert seen == [True, True, False]


# contract: D6
async def test_a_code_that_was_sent_stays_when_the_connection_breaks() -> None:
    server, broken = testing.Server(), anyio.Event()
    events = [{"type": "websocket.connect"}]

    async def receive() -> Mapping[str, Any]:
        if events:
            return events.pop()
        await broken.wait()
        raise OSError

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000)
        broken.set()
        await anyio.sleep(1)
        assert (ws.close_code, ws.state) == (4000, "closed")

    server.receive = receive
    assert (await block(server, body)).error is None


# contract: C6
async def test_a_denial() -> None:
    server = testing.Server(personality=testing.UVICORN)

    async def body(ws: WebSocket) -> None:
        await ws.reject(404)
        assert ws.state == "closed"  # there is nothing to wait for

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == ["app deny 404"]


# contract: L4
async def test_a_handshake_that_is_not_answered_is_denied() -> None:
    server = testing.Server()
    ended = await block(server, lambda ws: anyio.sleep(1))
    assert ended.error is None
    assert closes(server) == ["app deny 403"]


# contract: S5
async def test_a_message_that_is_refused_behind_others() -> None:
    """The others of the same burst are sent, in order."""
    error = ValueError("mine")
    server = testing.Server(faults=[FailSend(3, error)])
    ended = await block(server, pushing("1", "2", "3"))
    assert ended.error is error
    assert server.transcript.from_app == ["1", "3"]


# contract: C1
async def test_a_close_that_the_disconnect_overtakes_is_not_sent() -> None:
    """On granian a close has to wait for the receiver, which may be getting the disconnect."""
    for _ in range(30):
        server = testing.Server(personality=testing.GRANIAN)

        async def leave(server: testing.Server = server) -> None:
            await server.peer.receive()
            server.peer.close(4001)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave)
            await block(server, pushing("x"))
        late = [line for line in server.transcript.lines if "after the disconnect event" in line]
        assert late == []


async def test_hooks_receive_messages_that_the_server_has_taken() -> None:
    server = testing.Server(faults=[FailSend(3, ValueError("refused"))])
    emitted = list[hooks.Event]()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send(b"taken")
        with pytest.raises(ValueError, match="refused"):
            await ws.send(b"refused")

    await block(server, body, hooks=[emitted.append])
    sent = [event for event in emitted if isinstance(event, hooks.MessageSent)]
    assert [(event.message, event.size) for event in sent] == [(b"taken", 5)]
    assert [str(event.error) for event in emitted if isinstance(event, hooks.SendFailed)] == [
        "refused"
    ]
