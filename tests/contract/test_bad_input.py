"""Bad input: one clear sentence, nothing changed, the connection still usable."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from tests.contract._bench import block, closes
from wsnursery import LocalProtocolError, Options, WebSocket, open_websocket, testing, websocket_app


def assert_a_sentence(error: BaseException) -> None:
    """The error exists, is short, and is about this call, not about internals."""
    text = str(error)
    assert 10 < len(text) < 250, text
    assert "\n" not in text
    assert " " in text


async def is_refused(
    call: Callable[[WebSocket], object], kind: type[Exception], match: str
) -> None:
    server = testing.Server(subprotocols=["a"])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("unread")
        ws.send_nowait("before")
        await anyio.wait_all_tasks_blocked()
        state, statistics, lines = ws.state, ws.statistics(), server.transcript.lines
        with pytest.raises(kind, match=match) as caught:
            result = call(ws)
            if isinstance(result, Awaitable):
                await result
        assert_a_sentence(caught.value)
        assert (ws.state, ws.statistics(), server.transcript.lines) == (state, statistics, lines)
        assert ws.close_code is None
        await ws.send("after")
        assert await ws.receive() == "unread"

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["before", "after"]
    assert closes(server) == ["app close 1000"]


@pytest.mark.parametrize("kind", ["http", "lifespan", None, 5])
async def test_a_wrong_scope_type(kind: Any) -> None:
    server = testing.Server(scope={"type": kind})
    with pytest.raises((ValueError, TypeError), match="websocket") as caught:
        open_websocket(server.scope, server.receive, server.send)
    assert_a_sentence(caught.value)
    assert server.transcript.lines == []


async def test_a_scope_without_a_type() -> None:
    server = testing.Server()
    with pytest.raises((ValueError, TypeError), match="scope") as caught:
        open_websocket({}, server.receive, server.send)
    assert_a_sentence(caught.value)


# contract: C3
@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, -1, 70000])
async def test_a_bad_close_code(code: int) -> None:
    await is_refused(lambda ws: ws.close(code), LocalProtocolError, str(code))


# contract: C3
@pytest.mark.parametrize("code", ["1000", None, 1000.0, b"1000"])
async def test_a_close_code_of_a_wrong_type(code: Any) -> None:
    await is_refused(lambda ws: ws.close(code), TypeError, "int")


# contract: C3
async def test_a_reason_over_123_bytes() -> None:
    await is_refused(lambda ws: ws.close(1000, "é" * 62), LocalProtocolError, "123")


# contract: C3
@pytest.mark.parametrize("reason", [b"bye", None, 5])
async def test_a_reason_of_a_wrong_type(reason: Any) -> None:
    await is_refused(lambda ws: ws.close(1000, reason), TypeError, "str")


# contract: C3
async def test_a_reason_with_a_lone_surrogate() -> None:
    await is_refused(
        lambda ws: ws.close(1000, "a\ud800"),
        Exception,
        "surrogate",
    )


# contract: S6
@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\udc80" * 3])
@pytest.mark.parametrize("how", ["send", "send_nowait"])
async def test_a_lone_surrogate(text: str, how: str) -> None:
    await is_refused(lambda ws: getattr(ws, how)(text), ValueError, "surrogate")


# contract: S6
@pytest.mark.parametrize(
    "wrong", [None, 5, ["a"], {"a": 1}, pytest.param(object(), id="object")], ids=repr
)
@pytest.mark.parametrize("how", ["send", "send_nowait"])
async def test_a_payload_of_a_wrong_type(wrong: Any, how: str) -> None:
    await is_refused(lambda ws: getattr(ws, how)(wrong), TypeError, type(wrong).__name__)


# contract: S6
@pytest.mark.parametrize(
    "wrong", [pytest.param(object(), id="object"), {1, 2}, b"a", {b"a": 1}], ids=repr
)
async def test_an_object_that_is_no_json(wrong: Any) -> None:
    await is_refused(lambda ws: ws.send_json(wrong), TypeError, "JSON|json|serializable|keys")


# contract: S6
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), [float("-inf")]], ids=repr)
async def test_a_number_that_json_does_not_have(wrong: Any) -> None:
    await is_refused(lambda ws: ws.send_json(wrong), ValueError, "JSON|json|ircular")


# contract: S6
async def test_an_object_that_contains_itself() -> None:
    wrong: list[Any] = []
    wrong.append(wrong)
    await is_refused(lambda ws: ws.send_json(wrong), ValueError, "JSON|json|ircular")


async def test_accept_twice() -> None:
    await is_refused(lambda ws: ws.accept(), LocalProtocolError, "accept")


# contract: C6
async def test_reject_after_accept() -> None:
    await is_refused(lambda ws: ws.reject(), LocalProtocolError, "accept|reject")


# contract: T1
async def test_a_subprotocol_that_was_not_offered() -> None:
    server = testing.Server(subprotocols=["a"])

    async def body(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="'b'") as caught:
            await ws.accept("b")
        assert_a_sentence(caught.value)
        assert not server.peer.accepted
        await ws.accept("a")

    ended = await block(server, body)
    assert ended.error is None
    assert server.peer.subprotocol == "a"


# contract: T1
@pytest.mark.parametrize(
    "header", [(b"x-a\r\nb", b"c"), (b"x-a", b"b\r\nc: d"), (b"x-a", b"\nb"), (b"x-a", b"b\r")]
)
async def test_a_line_break_in_a_header(header: tuple[bytes, bytes]) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="header") as caught:
            await ws.accept(headers=[header])
        assert_a_sentence(caught.value)
        assert not server.peer.accepted
        await ws.accept()

    ended = await block(server, body)
    assert ended.error is None
    assert server.peer.accepted


# contract: C6
@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ((200,), ValueError),
        ((101,), ValueError),
        ((99,), ValueError),
        ((600,), ValueError),
        (("403",), TypeError),
        ((403, (), "text"), TypeError),
        ((403, [("a", b"b")]), TypeError),
        ((403, None), TypeError),
    ],
)
async def test_reject_with_bad_arguments(arguments: Any, kind: type[Exception]) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        with pytest.raises(kind) as caught:
            await ws.reject(*arguments)
        assert_a_sentence(caught.value)
        await ws.accept()
        await ws.send("usable")

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["usable"]


BEFORE: dict[str, Callable[[WebSocket], Any]] = {
    "send": lambda ws: ws.send("x"),
    "send_json": lambda ws: ws.send_json({}),
    "send_nowait": lambda ws: ws.send_nowait("x"),
    "flush": lambda ws: ws.flush(),
    "receive": lambda ws: ws.receive(),
    "receive_text": lambda ws: ws.receive_text(),
    "receive_bytes": lambda ws: ws.receive_bytes(),
    "receive_json": lambda ws: ws.receive_json(),
    "async for": lambda ws: anext(aiter(ws)),
}


@pytest.mark.parametrize("name", BEFORE)
async def test_use_before_accept(name: str) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        server.peer.send_nowait("unread")
        with pytest.raises(LocalProtocolError, match="accept") as caught:
            result = BEFORE[name](ws)
            if isinstance(result, Awaitable):
                await result
        assert_a_sentence(caught.value)
        await ws.accept()
        assert await ws.receive() == "unread"

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == []


# contract: L1
async def test_a_second_entry() -> None:
    server = testing.Server()
    once = open_websocket(server.scope, server.receive, server.send)
    async with once as ws:
        await ws.accept()
        with pytest.raises(RuntimeError, match="open_websocket") as caught:
            async with once:
                pytest.fail("entered twice")
        assert_a_sentence(caught.value)
        await ws.send("usable")
    assert server.transcript.from_app == ["usable"]


# contract: L3
async def test_use_after_the_block() -> None:
    server = testing.Server()
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        await ws.accept()
    with pytest.raises(anyio.ClosedResourceError) as caught:
        await ws.send("x")
    assert_a_sentence(caught.value)
    assert closes(server) == ["app close 1000"]


@pytest.mark.parametrize(
    "options",
    [
        {"receive_buffer": 0},
        {"receive_buffer": 1.5},
        {"receive_buffer_bytes": -1},
        {"send_buffer": True},
        {"send_buffer_bytes": "1"},
        {"grace_period": -1},
        {"grace_period": float("inf")},
        {"close_timeout": float("nan")},
        {"close_timeout": None},
        {"send_timeout": 0},
        {"idle_timeout": -5},
        {"incoming": "drop"},
        {"max_message_size": 0},
        {"allowed_origins": "https://example.org"},
        {"allowed_origins": [b"https://example.org"]},
        {"allowed_origins": ["example.org"]},
        {"allowed_origins": ["https://example.org/path"]},
        {"strict": "yes"},
        {"unknown": 1},
    ],
    ids=repr,
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(
        (ValueError, TypeError),
        match="origin" if "allowed_origins" in options else next(iter(options)),
    ) as caught:
        Options(**options)
    assert_a_sentence(caught.value)


async def test_a_scope_of_a_wrong_type_for_the_app() -> None:
    @websocket_app
    async def app(ws: WebSocket) -> None:
        pytest.fail("the handler ran")

    server = testing.Server()
    with pytest.raises(RuntimeError, match="nonsense") as caught:
        await app({"type": "nonsense"}, server.receive, server.send)
    assert_a_sentence(caught.value)
