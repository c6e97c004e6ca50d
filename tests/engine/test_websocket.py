"""`WebSocket`: what each method checks, returns and reports."""

import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from tests.contract._bench import block, closes
from tests.faults._opened import opened
from wsnursery import (
    InvalidPayload,
    LocalProtocolError,
    UnexpectedMessage,
    WebSocket,
    WebSocketDisconnected,
    testing,
)
from wsnursery._engine.payload import payload
from wsnursery._engine.websocket import connection_of, is_about


def received_by(*messages: str | bytes) -> testing.Server:
    """A server whose peer has sent these messages and closed, before any task reads."""
    server = testing.Server()
    for message in messages:
        server.peer.send_nowait(message)
    return server


# contract: L1
def test_only_the_library_makes_one() -> None:
    with pytest.raises(TypeError, match="use `async with open_websocket"):
        WebSocket()


# contract: L1
@pytest.mark.parametrize(
    "use",
    [
        lambda ws: ws.state,
        lambda ws: ws.subprotocol,
        lambda ws: ws.close_code,
        lambda ws: ws.close_reason,
        lambda ws: ws.cancel_scope,
        lambda ws: ws.statistics(),
        lambda ws: ws.send_nowait("x"),
        lambda ws: ws.start_soon(anyio.sleep_forever),
    ],
)
async def test_before_entry_it_says_how_to_enter(use: Callable[[WebSocket], object]) -> None:
    ws = opened(testing.Server())
    with pytest.raises(LocalProtocolError, match="`async with open_websocket"):
        use(ws)


# contract: L1
async def test_a_second_entry() -> None:
    server = testing.Server()
    async with opened(server) as ws:
        with pytest.raises(
            LocalProtocolError, match=r"call open_websocket\(\) once per ASGI scope"
        ):
            async with ws:
                pytest.fail("it was entered")
        await ws.accept()
    with pytest.raises(LocalProtocolError, match="has been entered before"):
        async with ws:
            pytest.fail("it was entered")


async def test_what_it_says_of_itself() -> None:
    server = testing.Server(path="/chat\n")
    ws = opened(server)
    assert repr(ws) == "<WebSocket not entered>"
    async with ws:
        await ws.accept()
        await server.peer.send("1")
        await server.peer.send("2")
        await anyio.wait_all_tasks_blocked()
        ws.send_nowait("x")
        assert repr(ws) == r"<WebSocket open '/chat\n': 2 unread, 1 unsent>"
    assert repr(ws) == r"<WebSocket closed '/chat\n': 0 unread, 0 unsent>"


async def test_the_handshake_is_there_before_entry() -> None:
    headers = [(b"origin", b"http://x")]
    ws = opened(testing.Server(headers=headers, subprotocols=["a", "b"], path="/p"))
    assert ws.scope["path"] == "/p"
    assert ws.headers[-1] == headers[0]
    assert ws.subprotocols == ("a", "b")


async def test_a_scope_that_says_little() -> None:
    server = testing.Server()
    server.scope = {"type": "websocket", "subprotocols": None}
    async with opened(server) as ws:
        assert ws.headers == ()
        assert ws.subprotocols == ()
        assert repr(ws) == "<WebSocket connecting '': 0 unread, 0 unsent>"


async def test_accept_says_what_was_chosen() -> None:
    server = testing.Server(subprotocols=["a", "b"])

    async def body(ws: WebSocket) -> None:
        before = ws.subprotocol
        await ws.accept("b", [(b"X-Id", b"1")])
        assert (before, ws.subprotocol) == (None, "b")
        assert server.peer.subprotocol == "b"
        assert server.peer.response_headers == [(b"x-id", b"1")]

    assert (await block(server, body)).error is None


# contract: T1
@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda ws: ws.accept("c"), ValueError),
        (lambda ws: ws.accept(headers=[(b"a b", b"")]), ValueError),
        (lambda ws: ws.accept(headers=[("a", "b")]), TypeError),
        (lambda ws: ws.reject(200), ValueError),
        (lambda ws: ws.reject(403, [(b"a b", b"")]), ValueError),
        (lambda ws: ws.reject(403, body="no"), TypeError),
        (lambda ws: ws.close(1006), LocalProtocolError),
        (lambda ws: ws.close(1000, "x" * 124), LocalProtocolError),
        (lambda ws: ws.close(1000, None), TypeError),
    ],
)
async def test_a_refused_argument_changes_nothing(
    call: Callable[[WebSocket], Awaitable[object]], error: type[Exception]
) -> None:
    server = testing.Server(subprotocols=["a"])

    async def body(ws: WebSocket) -> None:
        with pytest.raises(error):
            await call(ws)
        await ws.accept()
        await ws.send("x")

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["x"]


async def test_reject() -> None:
    server = testing.Server(personality=testing.UVICORN)

    async def body(ws: WebSocket) -> None:
        await ws.reject(429, [(b"Retry-After", b"1")], b"later")
        assert ws.state in ("rejected", "closed")

    assert (await block(server, body)).error is None
    assert closes(server) == ["app deny 429"]


async def test_reject_and_close_by_default() -> None:
    denied, closed = testing.Server(personality=testing.UVICORN), testing.Server()

    async def close(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close()

    assert (await block(denied, WebSocket.reject)).error is None
    assert (await block(closed, close)).error is None
    assert closes(denied) == ["app deny 403"]
    assert closes(closed) == ["app close 1000"]


# contract: S4
async def test_flush_waits_for_the_server() -> None:
    go_on = anyio.Event()
    server = testing.Server(faults=[testing.StallSend(2, go_on)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("x")
        await ws.flush()
        assert anyio.current_time() == 3
        assert server.transcript.from_app == ["x"]

    assert (await block(server, body, (3, go_on.set))).error is None


# contract: S6
@pytest.mark.parametrize(
    ("message", "sent"),
    [
        ("", ""),
        ("é", "é"),
        (b"", b""),
        (b"\xff", b"\xff"),
        (bytearray(b"ab"), b"ab"),
        pytest.param(memoryview(b"abcd")[::2], b"ac", id="memoryview"),
        pytest.param(memoryview(b""), b"", id="memoryview, empty"),
    ],
    ids=repr,
)
async def test_what_may_be_sent(message: Any, sent: str | bytes) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send(message)
        ws.send_nowait(message)
        await ws.flush()

    assert (await block(server, body)).error is None
    assert server.transcript.from_app == [sent, sent]
    assert {type(message) for message in server.transcript.from_app} == {type(sent)}


# contract: S6
async def test_a_copy_is_sent() -> None:
    server = testing.Server()
    buffer = bytearray(b"before")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait(buffer)
        ws.send_nowait(memoryview(buffer))
        buffer[:] = b"after!"

    assert (await block(server, body)).error is None
    assert server.transcript.from_app == [b"before", b"before"]


# contract: S6, S8
@pytest.mark.parametrize(
    ("message", "error", "sentence"),
    [
        (1, TypeError, r"got int: use send_json\(\) or publish_json\(\) for other objects"),
        (None, TypeError, "got NoneType"),
        ({}, TypeError, "got dict"),
        ([b"x"], TypeError, "got list"),
        ("ab\ud800", ValueError, "a lone surrogate at index 2"),
    ],
    ids=repr,
)
async def test_what_may_not_be_sent(message: Any, error: type[Exception], sentence: str) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(error, match=sentence):
            ws.send_nowait(message)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await ws.send(message)
        assert scope.cancelled_caught
        with pytest.raises(error, match=sentence):
            await ws.send(message)

    assert (await block(server, body)).error is None
    assert server.transcript.from_app == []


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        ({"a": [1, None, True]}, '{"a":[1,null,true]}'),
        ("é", '"é"'),
        (None, "null"),
        (1.5, "1.5"),
    ],
)
async def test_json_both_ways(obj: object, text: str) -> None:
    server = received_by(text, text.encode())

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(obj)
        assert await ws.receive_json() == obj
        assert await ws.receive_json() == obj

    assert (await block(server, body)).error is None
    assert server.transcript.from_app == [text]


@pytest.mark.parametrize(
    ("obj", "error"),
    [
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        pytest.param(object(), TypeError, id="object"),
        ({(1, 2): 3}, TypeError),
        ("\ud800", ValueError),
    ],
    ids=repr,
)
async def test_what_is_no_json(obj: object, error: type[Exception]) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(error):
            await ws.send_json(obj)

    assert (await block(server, body)).error is None
    assert server.transcript.from_app == []


async def test_text_and_bytes() -> None:
    server = received_by("text", b"bytes", "more")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        assert await ws.receive_text() == "text"
        assert await ws.receive_bytes() == b"bytes"
        assert await ws.receive() == "more"

    assert (await block(server, body)).error is None


# contract: R8
@pytest.mark.parametrize(
    ("message", "method", "error", "sentence"),
    [
        ("x", "receive_bytes", UnexpectedMessage, "expected a binary message, but"),
        (b"x", "receive_text", UnexpectedMessage, "expected text, but"),
        ("{", "receive_json", InvalidPayload, "a message that is not JSON"),
        (b"\xff", "receive_json", InvalidPayload, "a message that is not JSON"),
        ("", "receive_json", InvalidPayload, "a message that is not JSON"),
        ("[" * 100_000, "receive_json", InvalidPayload, "a message that is not JSON"),
    ],
    ids=lambda value: repr(value)[:20],
)
async def test_another_message_than_was_asked_for(
    message: str | bytes,
    method: str,
    error: type[Exception],
    sentence: str,
) -> None:
    server = received_by(message, "next")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises((UnexpectedMessage, InvalidPayload), match=sentence) as caught:
            await getattr(ws, method)()
        assert type(caught.value) is error
        assert getattr(caught.value, "message") == message  # noqa: B009 - mypy forgets the class
        assert await ws.receive() == "next"

    assert (await block(server, body)).error is None


async def test_iteration() -> None:
    server = received_by("1", b"2")
    got: list[str | bytes] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.close(4001, "bye")
        async for message in ws:
            got.append(message)  # noqa: PERF401
        assert (ws.close_code, ws.close_reason) == (4001, "bye")
        with pytest.raises(WebSocketDisconnected, match="4001"):
            await ws.receive()

    assert (await block(server, body)).error is None
    assert got == ["1", b"2"]


async def test_the_states_of_a_life() -> None:
    server = testing.Server(answers_close=False)
    states: list[str] = []
    ws = opened(server)
    async with ws:
        states.append(ws.state)
        await anyio.wait_all_tasks_blocked()
        states.append(ws.state)
        await ws.accept()
        states.append(ws.state)
        await ws.close(4000, "mine")
        states.append(ws.state)
    states.append(ws.state)
    assert states == ["connecting", "requested", "open", "closing", "closed"]
    assert (ws.close_code, ws.close_reason) == (4000, "mine")


async def test_children_have_names() -> None:
    names: list[str | None] = []

    async def child(*, task_status: anyio.abc.TaskStatus[None] | None = None) -> None:
        names.append(anyio.get_current_task().name)
        if task_status is not None:
            task_status.started()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(child, name="a name")
        await ws.start(child, name="another")
        ws.start_soon(child)
        await ws.start(child)

    assert (await block(testing.Server(), body)).error is None
    assert {"a name", "another"} < set(names)
    assert all(name and "run_child" not in name for name in names), names


# contract: L3
async def test_after_the_block_there_is_no_group() -> None:
    async with opened(testing.Server()) as ws:
        await ws.accept()
    for use in (lambda: ws.cancel_scope, lambda: ws.start_soon(anyio.sleep_forever)):
        with pytest.raises(anyio.ClosedResourceError, match="has been left"):
            use()
    for call in (lambda: ws.start(anyio.sleep_forever), ws.receive, ws.close):
        with pytest.raises(anyio.ClosedResourceError, match="has been left"):
            await call()


# contract: X5
async def test_a_block_that_is_cancelled_through_its_own_scope() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.cancel_scope.cancel()
        await anyio.sleep_forever()

    assert (await block(server, body)).error is None
    assert closes(server) == ["app close 1000"]


async def test_the_statistics() -> None:
    server = received_by("é", b"abc", "unread")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("é")
        await ws.receive()
        await ws.receive()
        await anyio.wait_all_tasks_blocked()
        ws.send_nowait(b"12345")
        statistics = ws.statistics()
        assert (statistics.messages_received, statistics.bytes_received) == (3, 11)
        assert (statistics.messages_sent, statistics.bytes_sent) == (1, 2)
        assert (statistics.receive_buffer_used, statistics.receive_buffer_used_bytes) == (1, 6)
        assert (statistics.send_buffer_used, statistics.send_buffer_used_bytes) == (1, 5)
        assert statistics.receive_buffer_high_water == 3
        assert statistics.send_buffer_high_water == 1
        assert statistics.tasks_waiting_send == 0

    assert (await block(server, body)).error is None


# contract: T2, T3
@pytest.mark.parametrize("accepts", ["http://good", None])
async def test_an_origin(accepts: str | None, caplog: pytest.LogCaptureFixture) -> None:
    origin = b"http://evil\x1b[31m\n"
    server = testing.Server(headers=[(b"Origin", origin)], personality=testing.UVICORN)
    ws = opened(server, allowed_origins=None if accepts is None else [accepts])
    with caplog.at_level(logging.INFO, "wsnursery"):
        if accepts is None:
            async with ws:
                await ws.accept()
            return
        with pytest.raises(WebSocketDisconnected):
            async with ws:
                pytest.fail("the body must not run")
    assert r"denied a WebSocket from origin 'http://evil\x1b[31m\n'" in caplog.text
    assert ws.state == "closed"
    assert closes(server) == ["app deny 403"]
    assert server.transcript.violations == []


# contract: X1
async def test_what_the_body_raises_goes_on_untouched() -> None:
    error = ValueError()
    cause = error.__cause__ = KeyError()
    context = error.__context__ = TypeError()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        raise error

    ended = await block(testing.Server(), body)
    assert ended.error is error
    assert error.__cause__ is cause
    assert error.__context__ is context
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["block", "body"]


# contract: X2
async def test_what_the_body_raises_is_not_the_context_of_something_else() -> None:
    server = testing.Server()

    async def fail() -> None:
        raise KeyError

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(fail)
        await anyio.sleep_forever()

    ended = await block(server, body)
    assert isinstance(ended.error, ExceptionGroup)
    assert ended.error.__context__ is None


# contract: X7
async def test_whose_end_an_exception_is_about() -> None:
    first, second = opened(testing.Server()), opened(testing.Server())
    assert not is_about(WebSocketDisconnected(), first)
    async with first, second:
        exc = connection_of(first).lifecycle.own_exception()
        assert is_about(exc, first)
        assert not is_about(exc, second)
        await first.accept()
        await second.accept()


def test_a_message_as_it_is_queued() -> None:
    assert payload("x") == "x"


async def test_the_id_is_random_and_stays() -> None:
    first, second = opened(testing.Server()), opened(testing.Server())
    async with first, second:
        inside = first.id
        assert inside.version == 4
        assert inside != second.id
    assert first.id == inside
