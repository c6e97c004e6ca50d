"""`open_websocket` over a raw ASGI triple: the events that it receives and sends."""

import logging
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from tests.asgi._sockets import HTTP_2, TRIO, Socket, send_over, tcp_server
from tests.contract._bench import about, block
from wsnursery import (
    Options,
    RemoteProtocolError,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
)
from wsnursery.asgi._extension import EXTENSION, ServerExtension, extension_of

CONNECT = {"type": "websocket.connect"}
GONE = {"type": "websocket.disconnect", "code": 1001}


class Script:
    """An ASGI server that delivers these events, one by one, and then nothing more.

    What is behind ``connect`` comes a second after the handshake, when a task reads.
    """

    def __init__(self, *events: Any, late: Exception | None = None, **scope: Any) -> None:
        self.scope = {"type": "websocket", "path": "/", "headers": [], **scope}
        self.sent: list[dict[str, Any]] = []
        self._events: list[Mapping[str, Any]] = [CONNECT, *events]
        self._delivered = 0
        self._late = late
        self._answered = anyio.Event()

    async def receive(self) -> Mapping[str, Any]:
        if self._delivered == 1:
            await self._answered.wait()
            await anyio.sleep(1)
        if self._delivered == len(self._events):
            await anyio.sleep_forever()
        self._delivered += 1
        return self._events[self._delivered - 1]

    async def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)
        self._answered.set()
        if self._events[self._delivered - 1] is GONE and self._late is not None:
            raise self._late

    def websocket(self, **options: Any) -> WebSocket:
        return open_websocket(self.scope, self.receive, self.send, options=Options(**options))

    async def run(self, **options: Any) -> list[str | bytes]:
        """Accept, and read to the end."""
        messages: list[str | bytes] = []
        async with self.websocket(**options) as ws:
            await ws.accept()
            messages += [message async for message in ws]
        return messages

    def problems(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno > logging.INFO]


def received(**payload: Any) -> dict[str, Any]:
    return {"type": "websocket.receive", **payload}


# contract: L1
@pytest.mark.parametrize("scope", [{"type": "http"}, {"type": "lifespan"}, {"type": None}, {}])
def test_another_scope_is_refused_at_the_call(scope: dict[str, Any]) -> None:
    script = Script()
    with pytest.raises(ValueError, match="must be of type 'websocket', got") as caught:
        open_websocket(scope, script.receive, script.send)
    assert repr(scope.get("type")) in str(caught.value)
    assert "scope['type']" in str(caught.value)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (received(text="x"), "x"),
        (received(text=""), ""),
        (received(bytes=b"x"), b"x"),
        (received(bytes=b""), b""),
        (received(text="x", bytes=None), "x"),
        (received(text=None, bytes=b"x"), b"x"),
        (received(text="", bytes=None), ""),
        (received(text=None, bytes=b""), b""),
    ],
    ids=repr,
)
async def test_a_message(event: dict[str, Any], message: str | bytes) -> None:
    assert await Script(event, GONE).run() == [message]


@pytest.mark.parametrize(
    "event",
    [received(), received(text=None, bytes=None), received(text=b"x"), received(bytes="x")],
    ids=repr,
)
async def test_a_message_without_a_payload(event: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError, match="with neither 'text' nor 'bytes'"):
        await Script(event).run()


@pytest.mark.parametrize("event", [None, {}, [], 1, "websocket.receive", {"text": "x"}], ids=repr)
async def test_what_is_no_event(event: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="without a 'type' instead of an event") as caught:
        await Script(event).run()
    assert type(event).__name__ in str(caught.value)


# contract: D6
@pytest.mark.parametrize(
    ("facts", "code", "reason"),
    [
        ({"code": 1001}, 1001, ""),
        ({"code": 4001, "reason": "bye"}, 4001, "bye"),
        ({"code": 1006, "reason": None}, 1006, ""),
        ({"code": None, "reason": "x"}, None, "x"),
        ({"code": "1000"}, None, ""),
        ({}, None, ""),
    ],
    ids=repr,
)
async def test_the_facts_of_a_disconnect(
    facts: dict[str, Any], code: int | None, reason: str
) -> None:
    ws = Script({"type": "websocket.disconnect", **facts}).websocket()
    with pytest.raises(WebSocketDisconnected) as caught:
        async with ws:
            await ws.accept()
            await ws.receive()
    assert (caught.value.code, caught.value.reason) == (code, reason)
    assert (ws.close_code, ws.close_reason) == (code, reason)


async def test_an_unknown_event_is_ignored_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unknown = {"type": "websocket.new\n"}
    script = Script(unknown, received(text="x"), unknown, received(text="y"), GONE)
    assert await script.run() == ["x", "y"]
    (problem,) = script.problems(caplog)
    what, where = problem.split(" (WebSocket ")
    assert what == r"ignored an event of unknown type 'websocket.new\n' from the server"
    assert where.startswith("/ from an unknown client, ")


async def test_an_unknown_event_in_strict_mode() -> None:
    script = Script({"type": "websocket.new"}, received(text="x"), GONE)
    with pytest.raises(RemoteProtocolError, match=r"an event of unknown type 'websocket\.new'"):
        await script.run(strict=True)


async def test_an_unknown_event_before_connect() -> None:
    """The server uses another protocol."""

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request"}

    script = Script()
    with pytest.raises(RemoteProtocolError, match=r"unknown type 'http\.request'"):
        async with open_websocket(script.scope, receive, script.send) as ws:
            await ws.accept()


async def test_every_event_that_is_sent() -> None:
    script = Script(subprotocols=["a", "b"])
    async with script.websocket(close_timeout=1) as ws:
        await ws.accept("b", [(b"X-Id", b"1")])
        await ws.send("text")
        await ws.send(b"bytes")
        await ws.close(4001, "bye")
    assert script.sent == [
        {"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-id", b"1")]},
        {"type": "websocket.send", "text": "text"},
        {"type": "websocket.send", "bytes": b"bytes"},
        {"type": "websocket.close", "code": 4001, "reason": "bye"},
    ]
    assert type(script.sent[0]["headers"]) is list


async def test_a_code_of_the_enum_is_sent_as_a_plain_int() -> None:
    """A gateway may convert it to JSON."""
    script = Script()
    async with script.websocket(close_timeout=1) as ws:
        await ws.accept()
    assert type(script.sent[-1]["code"]) is int


class Picky(Script):
    """Closes with 1000 and from 3000 up only, as daphne does."""

    def __init__(self, refusal: str = "invalid close code {} (must be 1000 or ...)") -> None:
        super().__init__()
        self.refusal = refusal

    async def send(self, event: dict[str, Any]) -> None:
        await super().send(event)
        code = event.get("code", 1000)
        if code != 1000 and code < 3000:
            raise Exception(self.refusal.format(code))


# contract: C1, X1
@pytest.mark.parametrize(("strict", "level"), [(False, logging.INFO), (True, logging.WARNING)])
async def test_a_close_code_that_the_server_refuses(
    strict: bool, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = Picky()
    ws = server.websocket(strict=strict, close_timeout=1)
    with caplog.at_level(logging.INFO, "wsnursery"), pytest.raises(LookupError):
        async with ws:
            await ws.accept()
            raise LookupError
    closes = [event for event in server.sent if event["type"] == "websocket.close"]
    assert [event["code"] for event in closes] == [1011, 4911]
    assert closes[0]["reason"] == closes[1]["reason"]
    assert ws.close_code == 1011
    (record,) = caplog.records
    assert (record.levelno, record.getMessage().partition(" (WebSocket ")[0]) == (
        level,
        "the server refuses close code 1011: sent 4911",
    )


# contract: C1
async def test_a_close_that_the_server_refuses_for_another_reason() -> None:
    server = Picky("no")
    async with server.websocket() as ws:
        await ws.accept()
        await ws.close(1001)
    assert [event["type"] for event in server.sent] == ["websocket.accept", "websocket.close"]


# contract: C6
async def test_a_denial_response() -> None:
    script = Script(extensions={"websocket.http.response": {}})
    async with script.websocket() as ws:
        await ws.reject(429, [(b"Retry-After", b"1")], b"later")
    assert script.sent == [
        {
            "type": "websocket.http.response.start",
            "status": 429,
            "headers": [(b"retry-after", b"1")],
        },
        {"type": "websocket.http.response.body", "body": b"later"},
    ]


# contract: C6
@pytest.mark.parametrize("extensions", [None, {}, {"tls": {}}])
async def test_a_denial_without_the_extension(
    extensions: dict[str, Any] | None, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(extensions=extensions)
    with caplog.at_level(logging.INFO, "wsnursery"):
        async with script.websocket() as ws:
            await ws.reject(429)
    assert script.sent == [{"type": "websocket.close", "code": 1000, "reason": ""}]
    assert "the client gets 403 instead of 429" in caplog.text


# contract: D9
@pytest.mark.parametrize("version", ["2.4", "2.10", "3.0", "2.4.1"])
@pytest.mark.parametrize(
    ("late", "problem"),
    [
        (None, "raised nothing"),
        (RuntimeError("x"), "raised RuntimeError('x') instead of an OSError"),
        (OSError(), None),
    ],
)
async def test_strict_asks_a_server_that_announces_late_errors(
    version: str, late: Exception | None, problem: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(GONE, late=late, asgi={"version": "3.0", "spec_version": version})
    await script.run(strict=True)
    said = f"the server announces ASGI 2.4, but a send after the disconnect {problem}"
    problems = [each.partition(" (WebSocket ")[0] for each in script.problems(caplog)]
    assert problems == ([said] if problem else [])
    assert script.sent[1:] == [{"type": "websocket.send", "text": ""}]


# contract: D9, C1
@pytest.mark.parametrize(
    ("strict", "asgi"),
    [
        (False, {"spec_version": "2.4"}),
        (True, {"spec_version": "2.3"}),
        (True, {"spec_version": "1.9"}),
        (True, {}),
        (True, {"spec_version": "new"}),
    ],
    ids=repr,
)
async def test_other_servers_are_not_asked(
    strict: bool, asgi: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    script = Script(GONE, asgi=asgi)
    await script.run(strict=strict)
    assert len(script.sent) == 1
    assert script.problems(caplog) == []


# contract: C1
async def test_strict_asks_nothing_after_your_own_close() -> None:
    server = testing.Server(scope={"asgi": {"spec_version": "2.4"}})
    ended = await block(server, WebSocket.accept, strict=True)
    assert ended.error is None


# contract: C1
async def test_strict_asks_nothing_before_accept() -> None:
    server = testing.Server(scope={"asgi": {"spec_version": "2.4"}})

    async def body(ws: WebSocket) -> None:
        server.peer.vanish()
        await anyio.wait_all_tasks_blocked()

    await block(server, body, strict=True)
    assert server.transcript.from_app == []


# contract: D9
@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (RuntimeError("Unexpected ASGI message, after sending 'websocket.close'."), True),
        (RuntimeError("something else"), False),
    ],
)
async def test_the_table_of_servers_decides(error: Exception, gone: bool) -> None:
    server = testing.Server(faults=[testing.FailSend(2, error)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    ended = await block(server, body)
    if gone:
        assert ended.own.__cause__ is error
    else:
        assert ended.error is error


# contract: S10
async def test_an_asgi_server_cannot_drop_a_connection() -> None:
    """So a late raw send is ended by its cancellation."""
    server = testing.Server(faults=[testing.StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    ended = await block(server, body, send_timeout=3)
    assert isinstance(ended.own.__cause__, TimeoutError)
    assert "app fail websocket.send was cancelled" in str(server.transcript)


async def test_there_are_no_pings_over_asgi() -> None:
    async with Script(GONE).websocket() as ws:
        assert ws.statistics().round_trip_time is None


def linked(script: Script, send: Any) -> None:
    """Put the server's own `send` into the scope, as a server that knows this library does."""
    script.scope["extensions"] = {EXTENSION: ServerExtension(send)}


async def test_the_link_of_a_server_learns_of_the_websocket() -> None:
    script = Script()
    linked(script, script.send)
    ws = script.websocket()
    extension = extension_of(script.scope)
    assert extension is not None
    assert extension.websocket is ws


# contract: S10, C5
@pytest.mark.parametrize("hidden", [False, True], ids=["bare", "behind middleware"])
async def test_what_cannot_be_cancelled_is_dropped(
    hidden: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Hypercorn shields its writes: only the connection's end frees a send that waits."""
    freed = anyio.Event()
    own = send_over(tcp_server(TRIO, Socket(on_close=freed.set)))
    stuck = testing.Server(faults=[testing.StallSend(2, freed, shielded=True)])
    if hidden:
        stuck.scope["extensions"] = {EXTENSION: ServerExtension(own)}
        send = stuck.send
    else:
        send = over(own, stuck.send)
    with pytest.raises(WebSocketDisconnected) as caught:
        async with open_websocket(
            stuck.scope, stuck.receive, send, options=Options(send_timeout=3)
        ) as ws:
            await ws.accept()
            await ws.send("x")
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert anyio.current_time() == about(3)
    assert caplog.records == []


def over(own: Any, send: Any) -> Any:
    """A `send` of the same object as another one, with an effect."""

    class Stream(type(own.__self__)):  # type: ignore[misc]
        async def method(self, event: Any) -> None:
            await send(event)

    return Stream(own.__self__.send).method


def test_hypercorn_closes_its_connection_without_eof() -> None:
    """On trio it would end the process when another of its tasks sends at that moment."""
    server = tcp_server(TRIO, Socket())
    before = server.stream.send_eof
    open_websocket({"type": "websocket"}, Script().receive, send_over(server))
    assert server.stream.send_eof != before


async def test_other_streams_are_not_dropped_with_it(caplog: pytest.LogCaptureFixture) -> None:
    sock, freed = Socket(), anyio.Event()
    stuck = testing.Server(faults=[testing.StallSend(2, freed, shielded=True)])
    stuck.scope["extensions"] = {
        EXTENSION: ServerExtension(send_over(tcp_server(TRIO, sock), HTTP_2))
    }

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("x")

    ended = await block(stuck, body, (9, freed.set), send_timeout=3)
    assert ended.at == about(9)
    assert sock.done == []
    assert "is stuck and cannot be cancelled" in caplog.text
