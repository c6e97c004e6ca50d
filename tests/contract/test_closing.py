"""C: the close, exactly once, in bounded time."""

import itertools
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.contract._bench import (
    BACKENDS,
    Log,
    about,
    block,
    checkpoints,
    closes,
    notified_by,
    run_all,
)
from wsnursery import (
    CloseCode,
    LocalProtocolError,
    Options,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
    websocket_app,
)

pytestmark = pytest.mark.usefixtures("over_both_paths")

by_server = pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda p: p.name)


# C1: exactly one


async def fails() -> None:
    raise ValueError("mine")


async def closing(ws: WebSocket) -> None:
    await ws.close(4000, "first")


async def ends_at_once(ws: WebSocket) -> None:
    pass


async def closes_twice(ws: WebSocket) -> None:
    await ws.close(4000)
    await ws.close(4001)


async def closes_in_two_tasks(ws: WebSocket) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ws.close, 4000)
        tasks.start_soon(ws.close, 4001)


async def closes_and_fails(ws: WebSocket) -> None:
    await ws.close(4000)
    raise ValueError("mine")


async def closes_while_a_child_fails(ws: WebSocket) -> None:
    ws.start_soon(fails)
    await ws.close(4000)


async def closes_in_a_child_and_fails(ws: WebSocket) -> None:
    ws.start_soon(ws.close, 4000)
    await anyio.lowlevel.checkpoint()
    raise ValueError("mine")


async def child_fails(ws: WebSocket) -> None:
    ws.start_soon(fails)
    await anyio.sleep_forever()


async def fails_itself(ws: WebSocket) -> None:
    raise ValueError("mine")


async def closes_a_cancelled_close(ws: WebSocket) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await ws.close(4000)
    await ws.close(4001)


async def cancels_itself(ws: WebSocket) -> None:
    ws.cancel_scope.cancel()
    await ws.close(4000)


ENDING = [
    ends_at_once,
    closing,
    closes_twice,
    closes_in_two_tasks,
    closes_and_fails,
    closes_while_a_child_fails,
    closes_in_a_child_and_fails,
    child_fails,
    fails_itself,
    closes_a_cancelled_close,
    cancels_itself,
]


# contract: C1
@by_server
@pytest.mark.parametrize("ending", ENDING)
async def test_exactly_one_close(
    ending: Callable[[WebSocket], Awaitable[None]], personality: testing.Personality
) -> None:
    """`block` fails if anything is sent after it."""
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ending(ws)

    ended = await block(server, body)
    assert type(ended.error) in (type(None), ValueError, ExceptionGroup)
    assert len(closes(server)) == 1


# contract: C1, L4
@pytest.mark.parametrize("ending", ENDING)
async def test_exactly_one_denial_before_accept(
    ending: Callable[[WebSocket], Awaitable[None]],
) -> None:
    server = testing.Server()
    ended = await block(server, ending)
    assert type(ended.error) in (type(None), ValueError, ExceptionGroup)
    assert closes(server) == ["app deny 403"]


MOMENTS = list(itertools.product(range(0, 24, 2), [0, 2]))
"""How many checkpoints after the handshake something happens, and the delay of the server."""


# contract: C1, X5
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ending", ENDING)
def test_exactly_one_close_when_cancelled_at_any_moment(
    ending: Callable[[WebSocket], Awaitable[None]], backend: str
) -> None:
    async def main(after: int, delay: int) -> None:
        server = testing.Server(faults=[testing.Delay(delay)])

        async def body(ws: WebSocket) -> None:
            await ws.accept()
            await ending(ws)

        async def cancel(scope: anyio.CancelScope) -> None:
            await checkpoints(after)
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(cancel, scope)
                await block(server, body)
        assert len(closes(server)) == 1
        assert server.transcript.violations == []
        assert anyio.current_time() <= 5.1

    run_all(backend, [(f"after, delay = {case}", partial(main, *case)) for case in MOMENTS])


# contract: C1
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ending", ENDING)
@pytest.mark.parametrize("personality", testing.BASIC, ids=lambda p: p.name)
def test_at_most_one_close_when_the_peer_leaves_at_any_moment(
    ending: Callable[[WebSocket], Awaitable[None]], personality: testing.Personality, backend: str
) -> None:
    async def main(after: int, delay: int) -> None:
        server = testing.Server(personality=personality, faults=[testing.Delay(delay)])

        async def body(ws: WebSocket) -> None:
            await ws.accept()
            await ending(ws)

        async def leave() -> None:
            await checkpoints(after)
            server.peer.vanish()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave)
            ended = await block(server, body)
        assert len(closes(server)) <= 1
        late = [line for line in server.transcript.lines if line == "app late websocket.close"]
        assert len(late) + len(closes(server)) <= 1
        if delay == 0 and "app disconnect 1006" in server.transcript.lines:
            after_the_end = server.transcript.lines.index("app disconnect 1006")
            assert not [
                line
                for line in server.transcript.lines[after_the_end:]
                if line.startswith(("app close", "app deny", "app late websocket.close"))
            ]
        errors = (type(None), WebSocketDisconnected, ValueError, ExceptionGroup)
        assert type(ended.error) in errors
        assert ended.at <= 5.1

    run_all(backend, [(f"after, delay = {case}", partial(main, *case)) for case in MOMENTS])


# contract: C1
async def test_no_close_after_the_end() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await notified_by(ws.receive)
        before = server.transcript.lines
        await ws.close()
        assert server.transcript.lines == before

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.error is None
    assert closes(server) == []


# C2: close()


# contract: C2
async def test_close_is_idempotent() -> None:
    server = testing.Server(answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000, "first")
        await ws.close(4001, "second")
        await ws.close()
        assert anyio.current_time() == 0
        assert (ws.close_code, ws.close_reason) == (4000, "first")
        assert ws.state == "closing"

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == ["app close 4000 first"]


# contract: C2
async def test_close_flushes_first() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for text in "abc":
            ws.send_nowait(text)
        await ws.close()
        assert anyio.current_time() == 3
        assert server.transcript.from_app == ["a", "b", "c"]
        assert closes(server) == ["app close 1000"]

    ended = await block(server, body, (3, go_on.set))
    assert ended.error is None


# contract: C2
async def test_the_second_of_two_closes_waits_for_the_first() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on)])
    log = Log()

    async def close(ws: WebSocket, name: str) -> None:
        await ws.close()
        log.note(name)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("a")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close, ws, "first")
            tasks.start_soon(close, ws, "second")

    ended = await block(server, body, (3, go_on.set))
    assert ended.error is None
    assert log.moments == {"first": 3, "second": 3}
    assert closes(server) == ["app close 1000"]


# contract: C2
@pytest.mark.parametrize("close_timeout", [0.5, 3])
async def test_the_flush_of_close_is_bounded(close_timeout: float) -> None:
    server = testing.Server(faults=[testing.StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("a")
        await ws.close()
        assert anyio.current_time() == about(close_timeout)

    ended = await block(server, body, close_timeout=close_timeout)
    assert type(ended.error) in (type(None), WebSocketDisconnected)
    assert ended.at == about(close_timeout)
    assert closes(server) == []


# contract: C2
async def test_a_cancelled_close_goes_out_all_the_same() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("a")
        with anyio.move_on_after(1) as scope:
            await ws.close(4000)
        assert scope.cancelled_caught

    ended = await block(server, body, (3, go_on.set))
    assert ended.error is None
    assert server.transcript.from_app == ["a"]
    assert closes(server) == ["app close 4000"]


# contract: C2
async def test_close_returns_when_the_peer_leaves_meanwhile() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("a")
        with suppress(WebSocketDisconnected):
            await ws.close()
        assert anyio.current_time() <= 5.1

    ended = await block(server, body, (3, server.peer.vanish), (4, go_on.set))
    assert type(ended.error) in (type(None), WebSocketDisconnected)
    assert closes(server) == []


# contract: C2
async def test_close_before_accept_denies() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.close()
        with pytest.raises((LocalProtocolError, anyio.ClosedResourceError)):
            await ws.accept()

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == ["app deny 403"]


# C3: codes and reasons

GOOD = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]
BAD = [-1, 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65536, 70000]


# contract: C3
@pytest.mark.parametrize("code", GOOD)
async def test_a_code_that_may_be_sent(code: int) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(code, "why")
        assert ws.close_code == code

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == [f"app close {code} why"]


# contract: C3
@pytest.mark.parametrize("code", BAD)
async def test_a_code_that_may_not_be_sent(code: int) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(LocalProtocolError, match=str(code)):
            await ws.close(code)
        assert ws.close_code is None
        assert ws.state == "open"
        await ws.send("still here")

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.lines[2:] == ["app send 'still here'", "app close 1000"] or closes(
        server
    ) == ["app close 1000"]


# contract: C3
@pytest.mark.parametrize("reason", ["", "x" * 123, "é" * 61 + "x", "€" * 41, "🙂" * 30 + "xyz"])
async def test_a_reason_that_may_be_sent(reason: str) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(1000, reason)

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.app_close == (1000, reason)


# contract: C3
@pytest.mark.parametrize("reason", ["x" * 124, "é" * 62, "€" * 41 + "x", "🙂" * 31])
async def test_a_reason_that_is_too_long(reason: str) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(LocalProtocolError, match="123"):
            await ws.close(1000, reason)
        await ws.send("still here")
        assert ws.close_reason == ""

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["still here"]
    assert closes(server) == ["app close 1000"]


# contract: C3
async def test_the_close_codes_say_which_may_be_sent() -> None:
    for code in CloseCode:
        server = testing.Server()

        async def body(ws: WebSocket, code: int = code) -> None:
            await ws.accept()
            if code in GOOD:
                await ws.close(code)
            else:
                with pytest.raises(LocalProtocolError):
                    await ws.close(code)

        ended = await block(server, body)
        assert ended.error is None


# contract: C3
async def test_close_all_refuses_the_same_codes() -> None:
    app = websocket_app(ends_at_once)
    with pytest.raises(LocalProtocolError):
        await app.close_all(1006)
    with pytest.raises(LocalProtocolError):
        await app.close_all(1001, "x" * 124)


# C4: the normal end


# contract: C4
@by_server
async def test_the_normal_end(personality: testing.Personality) -> None:
    server = testing.Server(personality=personality)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("a")
        ws.send_nowait("b")

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["a", "b"]
    assert closes(server) == ["app close 1000"]
    assert ended.at == about(0)


# contract: C4
async def test_it_waits_for_the_report_of_the_end() -> None:
    server = testing.Server(answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep(1)

    ended = await block(server, body, (3, server.peer.answer_close))
    assert ended.error is None
    assert closes(server) == ["app close 1000"]
    assert ended.at == about(3)


# contract: C4, C5
@pytest.mark.parametrize("close_timeout", [0.5, 5])
async def test_it_waits_for_the_report_of_the_end_no_longer(close_timeout: float) -> None:
    server = testing.Server(answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep(1)

    ended = await block(server, body, close_timeout=close_timeout)
    assert ended.error is None
    assert ended.at == about(1 + close_timeout)


# contract: C4
async def test_it_keeps_draining_meanwhile() -> None:
    server = testing.Server(answers_close=False, receive_queue=5)

    async def writes() -> None:
        for number in range(50):
            with suppress(testing.ConnectionEnded):
                await server.peer.send(str(number))
        server.peer.answer_close()

    async def body(ws: WebSocket) -> None:
        await ws.accept()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writes)
        ended = await block(server, body, receive_buffer=2)
    assert ended.error is None
    assert ended.at == about(0)
    assert server.peer.unread == 0


# contract: C4
@pytest.mark.parametrize(
    "error", [OSError("mine"), RuntimeError("mine"), ValueError("mine"), AttributeError("mine")]
)
async def test_an_error_while_sending_the_last_close_is_swallowed(error: Exception) -> None:
    server = testing.Server(faults=[testing.FailSend(3, error)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("a")

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["a"]
    assert ended.at <= 5.1


# contract: C4
@pytest.mark.parametrize("error", [OSError("mine"), RuntimeError("mine")])
async def test_an_error_while_sending_the_denial_is_swallowed(error: Exception) -> None:
    server = testing.Server(faults=[testing.FailSend(1, error)])
    ended = await block(server, ends_at_once)
    assert ended.error is None


# contract: C4, X1
async def test_an_error_while_sending_the_last_close_does_not_replace_another() -> None:
    server = testing.Server(faults=[testing.FailSend(2, RuntimeError("close"))])
    mine = ValueError("mine")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        raise mine

    ended = await block(server, body)
    assert ended.error is mine


# contract: C4, D5
async def test_messages_lost_by_the_last_flush_are_not_swallowed() -> None:
    cause = OSError("mine")
    server = testing.Server(faults=[testing.FailSend(2, cause)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("a")

    ended = await block(server, body)
    assert ended.own.__cause__ is cause
    assert ended.own.code is None


# C5: leaving is bounded


# contract: C5, D5, D6
@pytest.mark.parametrize("close_timeout", [0.5, 5])
async def test_a_flush_that_takes_too_long(close_timeout: float) -> None:
    server = testing.Server(send_queue=2)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(10):
            ws.send_nowait(str(number))
        await anyio.sleep(1)

    ended = await block(server, body, close_timeout=close_timeout)
    assert (ended.own.code, ended.own.reason) == (None, "")
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert ended.own.undelivered in (7, 8)
    assert ended.at == about(1 + close_timeout)
    assert closes(server) == []


# contract: C5
async def test_flush_and_close_together() -> None:
    """The flush takes 3 seconds; for the answer to the close only 2 are left."""
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on)], answers_close=False)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("a")

    ended = await block(server, body, (3, go_on.set), close_timeout=5)
    assert ended.error is None
    assert closes(server) == ["app close 1000"]
    assert ended.at == about(5)


# contract: C5
async def test_a_close_that_the_server_does_not_take() -> None:
    server = testing.Server(faults=[testing.StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep(1)

    ended = await block(server, body)
    assert ended.error is None
    assert ended.at == about(6)


# contract: C5
async def test_a_server_that_cannot_give_up_a_send_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on, shielded=True)])
    log = Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("stuck")
        await log.sleeper("body")

    ended = await block(server, body, (100, go_on.set), send_timeout=3)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert log.moments == {"body": 3}
    records = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(records) == 1


# contract: C5, D2
async def test_leaving_after_a_disconnect_is_bounded_while_a_raw_send_hangs() -> None:
    server = testing.Server(faults=[testing.StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("hangs")
        await anyio.sleep_forever()

    ended = await block(server, body, (3, server.peer.vanish))
    assert ended.own.code == 1006
    assert ended.at <= 8.1


# C6: reject


async def reject(server: testing.Server, *args: Any, **kwargs: Any) -> None:
    async def body(ws: WebSocket) -> None:
        await ws.reject(*args, **kwargs)
        assert ws.state in ("rejected", "closed")

    ended = await block(server, body)
    assert ended.error is None


# contract: C6
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 503])
async def test_reject_with_the_extension(status: int) -> None:
    @websocket_app
    async def app(ws: WebSocket) -> None:
        await ws.reject(status, [(b"x-why", b"because")], b"go away")

    with pytest.raises(testing.HandshakeDenied) as caught:
        async with testing.connect(app):
            pytest.fail("it was denied")
    assert caught.value.status == status
    assert (b"x-why", b"because") in caught.value.headers
    assert caught.value.body == b"go away"


# contract: C6
@pytest.mark.parametrize("extensions", [None, {}, {"other": {}}])
async def test_reject_without_the_extension(
    caplog: pytest.LogCaptureFixture, extensions: dict[str, Any] | None
) -> None:
    caplog.set_level(logging.DEBUG, logger="wsnursery")
    server = testing.Server()
    del server.scope["extensions"]
    if extensions is not None:
        server.scope["extensions"] = extensions
    await reject(server, 401, [(b"x-why", b"because")], b"go away")
    assert closes(server) == ["app deny 403"]
    assert [record for record in caplog.records if "401" in record.getMessage()]


# contract: C6, C1
async def test_reject_once_and_nothing_after_it() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.reject(401)
        with pytest.raises((LocalProtocolError, anyio.ClosedResourceError)):
            await ws.reject(402)
        with pytest.raises((LocalProtocolError, anyio.ClosedResourceError)):
            await ws.accept()
        with pytest.raises((LocalProtocolError, anyio.ClosedResourceError)):
            await ws.send("x")
        await ws.close()

    ended = await block(server, body)
    assert ended.error is None
    assert closes(server) == ["app deny 401"]


# contract: C6
async def test_reject_after_accept_changes_nothing() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(LocalProtocolError):
            await ws.reject(401)
        await ws.send("still here")

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["still here"]
    assert closes(server) == ["app close 1000"]


# contract: C6, D7
async def test_reject_when_the_peer_has_gone() -> None:
    for personality in testing.BASIC:
        server = testing.Server(personality=personality)

        async def body(ws: WebSocket, server: testing.Server = server) -> None:
            server.peer.vanish()
            await anyio.sleep(1)
            await ws.reject(401)

        ended = await block(server, body)
        assert type(ended.error) in (type(None), WebSocketDisconnected)
        assert closes(server) == []


# contract: C4, X5
async def test_close_all() -> None:
    opened: list[WebSocket] = []

    @websocket_app(options=Options(close_timeout=2))
    async def app(ws: WebSocket) -> None:
        opened.append(ws)
        await ws.accept()
        async for _ in ws:
            pass

    async with testing.connect(app) as first, testing.connect(app) as second:
        await app.close_all(4000, "restart")
        for client in (first, second):
            await client.app_finished()
            assert client.transcript.app_close == (4000, "restart")
    assert len(opened) == 2


# contract: C1
async def test_the_cancel_scope_ends_it_like_a_normal_end() -> None:
    server = testing.Server()
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        await ws.accept()
        ws.cancel_scope.cancel()
        await anyio.sleep_forever()
    assert closes(server) == ["app close 1000"]
