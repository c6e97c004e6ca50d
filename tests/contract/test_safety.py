"""T: what is refused, what is limited, and what is never logged."""

import logging
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import anyio
import pytest

from tests.contract._bench import about, block, closes, notified_by
from wsnursery import (
    Options,
    RemoteProtocolError,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
    websocket_app,
)

# T1: headers and subprotocols

BAD_HEADERS: list[Any] = [
    [(b"x-a\r\nset-cookie", b"b")],
    [(b"x-a", b"b\r\nset-cookie: c")],
    [(b"x-a", b"b\nc")],
    [(b"x-a", b"b\rc")],
    [(b"x-a", b"b\x00c")],
    [(b"x a", b"b")],
    [(b"", b"b")],
    [(b":path", b"b")],
    [(b"x-\xe9", b"b")],
    [(b"x-a:", b"b")],
    [(b"sec-websocket-protocol", b"a")],
    [(b"Sec-WebSocket-Protocol", b"a")],
    [(b"good", b"fine"), (b"x-a", b"b\r\n")],
    [("x-a", "b")],
    [(b"x-a", "b")],
    [(b"x-a",)],
    [b"xa"],
    [None],
]


async def refuses(call: Callable[[WebSocket], Any], server: testing.Server) -> None:
    """The call is refused, nothing has changed, and the handshake can continue."""

    async def body(ws: WebSocket) -> None:
        before = ws.state
        with pytest.raises((ValueError, TypeError)) as caught:
            await call(ws)
        assert str(caught.value)
        assert ws.state in (before, "requested")
        assert not server.peer.accepted
        await ws.accept()
        await ws.send("usable")

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["usable"]
    assert server.peer.response_headers == []
    assert server.peer.subprotocol is None
    assert closes(server) == ["app close 1000"]


# contract: T1
@pytest.mark.parametrize("headers", BAD_HEADERS, ids=repr)
async def test_accept_refuses_bad_headers(headers: Any) -> None:
    await refuses(lambda ws: ws.accept(headers=headers), testing.Server(subprotocols=["a"]))


# contract: T1, C6
@pytest.mark.parametrize("headers", [h for h in BAD_HEADERS if "rotocol" not in repr(h)], ids=repr)
async def test_reject_refuses_bad_headers(headers: Any) -> None:
    await refuses(lambda ws: ws.reject(401, headers), testing.Server())


# contract: T1
@pytest.mark.parametrize("subprotocol", ["c", "", "A", "a ", "a,b", "a, b", "a\r\nx: y"])
async def test_accept_refuses_a_subprotocol_that_was_not_offered(subprotocol: str) -> None:
    await refuses(lambda ws: ws.accept(subprotocol), testing.Server(subprotocols=["a", "b"]))


# contract: T1
@pytest.mark.parametrize("subprotocol", [b"a", 1, ["a"]])
async def test_accept_refuses_a_subprotocol_of_a_wrong_type(subprotocol: Any) -> None:
    await refuses(lambda ws: ws.accept(subprotocol), testing.Server(subprotocols=["a"]))


# contract: T1
async def test_accept_sends_good_headers_and_the_subprotocol() -> None:
    server = testing.Server(subprotocols=["a", "b"])

    async def body(ws: WebSocket) -> None:
        assert ws.subprotocols == ("a", "b")
        assert ws.subprotocol is None
        await ws.accept("b", [(b"X-A", b"b c"), (b"set-cookie", b"d=\xff"), (b"x-empty", b"")])
        assert ws.subprotocol == "b"

    ended = await block(server, body)
    assert ended.error is None
    assert server.peer.subprotocol == "b"
    assert [(name.lower(), value) for name, value in server.peer.response_headers] == [
        (b"x-a", b"b c"),
        (b"set-cookie", b"d=\xff"),
        (b"x-empty", b""),
    ]


# T2: origins

ALLOWED = ["https://example.org", "http://localhost:8000"]


async def enter(origins: list[tuple[bytes, bytes]], **options: Any) -> testing.Server:
    server = testing.Server(headers=origins)
    async with open_websocket(
        server.scope, server.receive, server.send, options=Options(**options)
    ) as ws:
        await ws.accept()
    return server


# contract: T2
@pytest.mark.parametrize(
    "origin",
    [
        "http://example.org",
        "https://example.org:8443",
        "https://example.org.evil.test",
        "https://evil.test",
        "https://evil.test/https://example.org",
        "https://sub.example.org",
        "https://example.org@evil.test",
        "http://localhost",
        "http://localhost:8001",
        "null",
        "",
        "example.org",
        "https://",
        "nonsense",
        "https://example.org:port",
        "https://example.org, https://evil.test",
        "https://example.org https://evil.test",
        "https://example.org/",
    ],
)
async def test_another_origin_is_denied(origin: str) -> None:
    server = testing.Server(headers=[(b"origin", origin.encode())])
    ran = False
    with pytest.raises(WebSocketDisconnected):
        async with open_websocket(
            server.scope, server.receive, server.send, options=Options(allowed_origins=ALLOWED)
        ):
            ran = True
    assert not ran
    assert closes(server) == ["app deny 403"]
    assert server.transcript.violations == []


# contract: T2
@pytest.mark.parametrize(
    "origin",
    [
        "https://example.org",
        "https://example.org:443",
        "https://EXAMPLE.org",
        "HTTPS://example.org",
        "http://localhost:8000",
    ],
)
async def test_the_same_origin_passes(origin: str) -> None:
    server = await enter([(b"origin", origin.encode())], allowed_origins=ALLOWED)
    assert server.peer.accepted


# contract: T2
async def test_without_an_origin_it_is_no_browser() -> None:
    server = await enter([], allowed_origins=ALLOWED)
    assert server.peer.accepted


# contract: T2
async def test_no_origin_is_allowed() -> None:
    with pytest.raises(WebSocketDisconnected):
        await enter([(b"origin", b"https://example.org")], allowed_origins=[])


# contract: T2
async def test_all_origins_are_allowed_by_default() -> None:
    server = await enter([(b"origin", b"https://evil.test")])
    assert server.peer.accepted


# contract: T2
@pytest.mark.parametrize("order", [1, -1])
async def test_two_origins_are_denied(order: int) -> None:
    origins = [(b"origin", b"https://example.org"), (b"origin", b"https://evil.test")][::order]
    with pytest.raises(WebSocketDisconnected):
        await enter(origins, allowed_origins=ALLOWED)


# contract: T2, X8
async def test_the_app_denies_quietly() -> None:
    @websocket_app(options=Options(allowed_origins=ALLOWED))
    async def app(ws: WebSocket) -> None:
        pytest.fail("the handler ran")

    with pytest.raises(testing.HandshakeDenied) as caught:
        async with testing.connect(app, headers=[(b"origin", b"https://evil.test")]):
            pytest.fail("it was denied")
    assert caught.value.status == 403


# T3: limits and logs


# contract: T3, T4
def test_no_limit_is_infinite_by_default() -> None:
    may_be_none = {"idle_timeout", "allowed_origins"}
    options = Options()
    for field in fields(Options):
        value = getattr(options, field.name)
        if field.name in may_be_none:
            assert value is None
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert 0 < value < math.inf, field.name


# contract: T3
async def test_a_handler_may_run_and_be_idle_for_ever() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("x")
        await ws.receive()
        await anyio.sleep(86_000)
        await ws.send("still here")

    ended = await block(server, body)
    assert ended.error is None
    assert server.transcript.from_app == ["still here"]


NASTY = "a\r\nFAKE log line\x1b[31m\x00\u2028\u202e"


def written(caplog: pytest.LogCaptureFixture) -> str:
    texts = [record.getMessage() for record in caplog.records]
    assert texts
    return "".join(texts)


# contract: T3
async def test_peer_data_is_escaped_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="wsnursery")

    @websocket_app(options=Options(receive_buffer=1))
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        await anyio.sleep_forever()

    async with testing.connect(app, path="/" + NASTY, receive_queue=10) as client:
        for _ in range(3):
            await client.send(NASTY)
        await anyio.sleep(1)
        client.close(4001, NASTY)
        client.cancel_app()
        await client.app_finished()

    @websocket_app
    async def notified(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()

    async with testing.connect(notified, path="/" + NASTY) as client:
        client.close(4001, NASTY)
        await client.app_finished()
    for character in "\r\n\x1b\x00\u2028\u202e":
        assert character not in written(caplog)


# contract: T3
async def test_peer_data_is_escaped_in_the_sentence_of_the_exception() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        error = await notified_by(ws.receive)
        assert error.reason == NASTY
        for character in "\r\n\x1b\x00\u2028\u202e":
            assert character not in str(error)

    ended = await block(server, body, (1, lambda: server.peer.close(4001, NASTY)))
    assert ended.error is None


# contract: T3
async def test_peer_data_is_not_in_a_close_reason() -> None:
    reasons: list[str] = []

    async def fails(ws: WebSocket) -> None:
        raise ValueError(await ws.receive())

    async def bad_json(ws: WebSocket) -> None:
        await ws.receive_json()

    async def unexpected(ws: WebSocket) -> None:
        await ws.receive_bytes()

    async def too_big(ws: WebSocket) -> None:
        with pytest.raises(WebSocketDisconnected):
            await ws.receive()

    for handler in (fails, bad_json, unexpected, too_big):
        server = testing.Server()

        async def body(ws: WebSocket, handler: Any = handler) -> None:
            await ws.accept()
            await handler(ws)

        server.peer.send_nowait("secret of the peer")
        await block(server, body, max_message_size=10 if handler is too_big else 100)
        assert server.transcript.app_close is not None
        reasons.append(server.transcript.app_close[1])
    assert all("secret" not in reason for reason in reasons)


# T4: bounded by default


# contract: T4
async def test_the_inbox_is_bounded_by_default() -> None:
    server = testing.Server(receive_queue=None)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(1000):
            server.peer.send_nowait("x")
        await anyio.sleep(1)
        assert server.peer.unread > 900

    await block(server, body)


# contract: T4
async def test_the_outbox_is_bounded_by_default() -> None:
    server = testing.Server(send_queue=1)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(anyio.WouldBlock):
            for _ in range(1000):
                ws.send_nowait("x")
        while server.peer.pending or ws.statistics().send_buffer_used:
            await server.peer.receive()

    ended = await block(server, body)
    assert ended.error is None


# contract: T4
@pytest.mark.parametrize("message", ["x" * 10, b"x" * 10, "é" * 5])
async def test_a_message_of_the_maximum_size_passes(message: str | bytes) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait(message)
        assert await ws.receive() == message

    ended = await block(server, body, max_message_size=10)
    assert ended.error is None


# contract: T4
@pytest.mark.parametrize("message", ["x" * 11, b"x" * 11, "é" * 6])
async def test_a_message_over_the_maximum_size(message: str | bytes) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("earlier")
        server.peer.send_nowait(message)
        await anyio.sleep(1)
        assert await ws.receive() == "earlier"
        error = await notified_by(ws.receive)
        assert error.code == 1009
        assert ws.close_code == 1009
        raise error

    ended = await block(server, body, max_message_size=10)
    assert ended.own.code == 1009
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1009
    assert len(closes(server)) == 1


# contract: T4
async def test_the_default_maximum_size() -> None:
    server = testing.Server()
    size = Options().max_message_size

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("x" * size)
        assert len(await ws.receive()) == size
        server.peer.send_nowait("x" * (size + 1))
        assert (await notified_by(ws.receive)).code == 1009

    ended = await block(server, body)
    assert ended.error is None


# contract: T4
async def test_the_size_counts_in_discard_mode_too() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("x" * 11)
        await anyio.sleep_forever()

    ended = await block(server, body, max_message_size=10, incoming="discard")
    assert ended.own.code == 1009


# contract: T4
async def test_the_idle_timeout() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(5):
            await anyio.sleep(8)
            server.peer.send_nowait("x")
            await ws.receive()
        await ws.receive()

    ended = await block(server, body, idle_timeout=10)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert ended.at == about(50)
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1001
    assert len(closes(server)) == 1


# contract: T4
async def test_own_messages_do_not_count_for_the_idle_timeout() -> None:
    server = testing.Server(send_queue=None)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send("x")
            await anyio.sleep(1)

    ended = await block(server, body, idle_timeout=10.5)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert ended.at == about(10.5)


# What the server or the peer does wrong

GARBAGE: list[dict[str, Any]] = [
    {"type": "websocket.nonsense"},
    {"type": "http.request"},
    {"type": "websocket.receive"},
    {"type": "websocket.receive", "text": None, "bytes": None},
    {"type": "websocket.connect"},
    {},
]


# contract: D9
@pytest.mark.parametrize("event", GARBAGE, ids=repr)
async def test_an_event_that_cannot_be(event: dict[str, Any]) -> None:
    """It causes neither a KeyError nor a hang: it is ignored, or it is the server's error."""
    server = testing.Server(faults=[testing.Garbage(2, event)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("x")
        assert await ws.receive() == "x"

    with anyio.fail_after(100):
        ended = await block(server, body)
    assert type(ended.error) in (type(None), RemoteProtocolError, WebSocketDisconnected)
    if isinstance(ended.error, WebSocketDisconnected):
        assert isinstance(ended.error.__cause__, RemoteProtocolError)


# contract: L1
async def test_the_first_event_must_be_connect() -> None:
    event = {"type": "websocket.receive", "text": "x"}
    server = testing.Server(faults=[testing.Garbage(1, event)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()

    ended = await block(server, body)
    assert type(ended.error) is RemoteProtocolError
    assert not server.peer.accepted


# contract: T1
async def test_accept_refuses_a_subprotocol_that_cannot_be_sent() -> None:
    """Even if the peer has offered it."""
    server = testing.Server(scope={"subprotocols": ["a\r\nx: y"]})
    await refuses(lambda ws: ws.accept("a\r\nx: y"), server)
