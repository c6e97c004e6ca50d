"""`websocket_app`: the three types of scope, its exceptions, and `close_all`."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.contract._bench import about
from wsnursery import (
    LocalProtocolError,
    Options,
    WebSocket,
    WebSocketDisconnected,
    testing,
    websocket_app,
)
from wsnursery.asgi import WebSocketApp


@websocket_app
async def echo(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        await ws.send(message)


async def call(app: WebSocketApp, scope: dict[str, Any], *events: str) -> list[dict[str, Any]]:
    """What an app sends on a scope that is not a websocket."""
    sent: list[dict[str, Any]] = []
    waiting = list(events)

    async def receive() -> dict[str, Any]:
        return {"type": waiting.pop(0)}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)

    await app(scope, receive, send)
    assert waiting == []
    return sent


@asynccontextmanager
async def connected(app: WebSocketApp, count: int) -> AsyncIterator[list[testing.Server]]:
    """This many connections, each served in its own task."""
    servers = [testing.Server() for _ in range(count)]
    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        for server in servers:
            tasks.start_soon(app, server.scope, server.receive, server.send)
            await anyio.wait_all_tasks_blocked()
        yield servers


def closed_with(servers: list[testing.Server]) -> list[tuple[int | None, str] | None]:
    return [server.transcript.app_close for server in servers]


async def test_a_conversation() -> None:
    async with testing.connect(echo) as client:
        await client.send("x")
        assert await client.receive() == "x"


async def test_the_decorator_bare_and_with_options() -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive()

    bare = websocket_app(handler)
    with_options = websocket_app(options=Options(max_message_size=1))(handler)
    for app, code in [(bare, 1000), (with_options, 1009)]:
        async with testing.connect(app) as client:
            await client.send("xx")
            with pytest.raises(testing.ConnectionEnded) as caught:
                await client.receive()
            assert caught.value.code == code


async def test_its_repr_names_the_handler() -> None:
    assert repr(echo) == "<WebSocketApp echo: 0 open>"

    class Handler:
        async def __call__(self, ws: WebSocket) -> None: ...

    assert "Handler object" in repr(websocket_app(Handler()))
    async with connected(echo, 2):
        assert repr(echo) == "<WebSocketApp echo: 2 open>"
        await echo.close_all()


@pytest.mark.parametrize(
    ("version", "upgrade"),
    [("1.0", True), ("1.1", True), (None, True), ("2", False), ("3", False)],
)
async def test_http_is_answered_with_426(version: str | None, upgrade: bool) -> None:
    scope: dict[str, Any] = {"type": "http", "path": "/"}
    if version is not None:
        scope["http_version"] = version
    start, body = await call(echo, scope)
    assert start["type"] == "http.response.start"
    assert start["status"] == 426
    headers = dict(start["headers"])
    assert int(headers[b"content-length"]) == len(body["body"])
    assert (headers.get(b"upgrade"), headers.get(b"connection")) == (
        (b"websocket", b"upgrade") if upgrade else (None, None)
    )
    assert b"WebSocket" in body["body"]
    assert not body.get("more_body")


async def test_lifespan_stays_until_the_shutdown() -> None:
    scope = {"type": "lifespan"}
    sent = await call(echo, scope, "lifespan.startup", "lifespan.other", "lifespan.shutdown")
    assert [event["type"] for event in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def test_another_scope() -> None:
    with pytest.raises(RuntimeError, match="cannot serve a scope of type 'quic'"):
        await call(echo, {"type": "quic"})


# contract: X8
async def test_a_client_that_leaves_is_a_normal_end(caplog: pytest.LogCaptureFixture) -> None:
    @websocket_app
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.receive()

    with caplog.at_level(logging.DEBUG, "wsnursery"):
        async with testing.connect(app) as client:
            client.close(4001, "bye\n")
            await client.app_finished()
    (record,) = [record for record in caplog.records if record.name == "wsnursery"]
    assert record.levelno == logging.DEBUG
    text, _, where = record.getMessage().partition(" (WebSocket ")
    assert text.endswith(r"has ended with code 4001 and reason 'bye\n'")
    assert where.startswith("/ from ")


async def test_a_client_that_leaves_needs_no_id_where_nothing_is_logged() -> None:
    """Thousands may leave at once, and a random id costs more than the rest of the line."""
    scopes: list[Any] = []

    @websocket_app
    async def app(ws: WebSocket) -> None:
        scopes.append(ws.scope)
        await ws.accept()
        while True:
            await ws.receive()

    async with testing.connect(app) as client:
        client.close(4001)
        await client.app_finished()
    assert "wsnursery.id" not in scopes[0]


# contract: X7, X8
async def test_the_end_of_another_connection_goes_to_the_server() -> None:
    foreign = WebSocketDisconnected(1000)

    @websocket_app
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        raise foreign

    with pytest.raises(WebSocketDisconnected) as caught:
        async with testing.connect(app) as client:
            await client.app_finished()
    assert caught.value is foreign
    assert app.connections == ()


# contract: X8
async def test_an_error_goes_to_the_server() -> None:
    @websocket_app
    async def app(ws: WebSocket) -> None:
        await ws.accept()
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        async with testing.connect(app) as client:
            await client.app_finished()
    assert app.connections == ()


# contract: T2
async def test_a_denied_origin_is_a_normal_end() -> None:
    @websocket_app(options=Options(allowed_origins=[]))
    async def app(ws: WebSocket) -> None:
        raise AssertionError

    with pytest.raises(testing.HandshakeDenied):
        async with testing.connect(app, headers=[(b"origin", b"http://x")]):
            pass
    assert app.connections == ()


async def test_the_open_connections_oldest_first() -> None:
    async with connected(echo, 3) as servers:
        assert [ws.scope for ws in echo.connections] == [server.scope for server in servers]
        servers[1].peer.close()
        await anyio.sleep(1)
        assert [ws.scope for ws in echo.connections] == [servers[0].scope, servers[2].scope]
        await echo.close_all()
        assert echo.connections == ()


async def test_close_all_says_why() -> None:
    async with connected(echo, 3) as servers:
        await echo.close_all(4001, "maintenance")
    assert closed_with(servers) == [(4001, "maintenance")] * 3


async def test_close_all_says_going_away_by_default() -> None:
    async with connected(echo, 1) as servers:
        await echo.close_all()
    assert closed_with(servers) == [(1001, "")]


async def test_close_all_of_nothing_returns_at_once() -> None:
    await echo.close_all(timeout=None)
    assert anyio.current_time() == 0


# contract: C3
async def test_close_all_refuses_what_may_not_be_sent() -> None:
    async with connected(echo, 1) as servers:
        with pytest.raises(LocalProtocolError, match="close code 1006"):
            await echo.close_all(1006)
        assert len(echo.connections) == 1
        await echo.close_all()
    assert closed_with(servers) == [(1001, "")]


@websocket_app
async def slow(ws: WebSocket) -> None:
    """It takes a minute to end."""
    await ws.accept()
    async for _ in ws:
        pass
    with anyio.CancelScope(shield=True):
        await anyio.sleep(60)


@websocket_app(options=Options(grace_period=1000))
async def stubborn(ws: WebSocket) -> None:
    """It does not end by itself."""
    await ws.accept()
    async for _ in ws:
        pass
    await anyio.sleep_forever()


async def test_close_all_waits_for_the_handlers() -> None:
    async with connected(slow, 2) as servers:
        began = anyio.current_time()
        await slow.close_all(timeout=None)
        assert anyio.current_time() - began == about(60)
        assert slow.connections == ()
    assert closed_with(servers) == [(1001, "")] * 2


@pytest.mark.parametrize("timeout", [0, 0.5, 3])
async def test_close_all_cancels_late_handlers(timeout: float) -> None:
    async with connected(stubborn, 2) as servers:
        began = anyio.current_time()
        await stubborn.close_all(timeout=timeout)
    assert anyio.current_time() - began == about(timeout)
    assert closed_with(servers) == [(1001, "")] * 2


async def test_close_all_waits_for_ten_seconds_by_default() -> None:
    async with connected(stubborn, 1):
        began = anyio.current_time()
        await stubborn.close_all()
    assert anyio.current_time() - began == about(10)


async def test_close_all_cancels_no_handler_that_has_ended() -> None:
    """A handler that has ended, and whose block waits for the peer's answer."""
    server = testing.Server(answers_close=False)

    @websocket_app(options=Options(close_timeout=5))
    async def app(ws: WebSocket) -> None:
        await ws.accept()

    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        tasks.start_soon(app, server.scope, server.receive, server.send)
        await anyio.sleep(1)
        await app.close_all(timeout=1)
        assert anyio.current_time() == about(2)
    assert anyio.current_time() == about(5)
    assert closed_with([server]) == [(1000, "")]


async def test_a_connection_that_ends_while_others_are_closed() -> None:
    async with connected(echo, 2) as servers:
        first, _ = echo.connections
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(echo.close_all)
            first.cancel_scope.cancel()
    assert closed_with(servers)[1] == (1001, "")
    assert echo.connections == ()


async def test_two_at_once_are_both_notified() -> None:
    async with connected(slow, 1) as servers, anyio.create_task_group() as tasks:
        began = anyio.current_time()
        tasks.start_soon(lambda: slow.close_all(4001, timeout=None))
        await anyio.wait_all_tasks_blocked()
        await slow.close_all(4002, timeout=None)
        assert anyio.current_time() - began == about(60)
    assert closed_with(servers) == [(4001, "")]


# contract: C2
async def test_a_cancelled_close_all_sends_the_closes_all_the_same() -> None:
    async with connected(echo, 2) as servers:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await echo.close_all()
    assert closed_with(servers) == [(1001, "")] * 2


async def test_connections_that_come_later_are_not_waited_for() -> None:
    late = testing.Server()
    async with connected(slow, 1), anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: slow.close_all(timeout=None))
        await anyio.sleep(30)
        tasks.start_soon(slow, late.scope, late.receive, late.send)
        await anyio.sleep(31)
        assert [ws.scope for ws in slow.connections] == [late.scope]
        late.peer.vanish()
