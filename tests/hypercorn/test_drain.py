"""Ending all WebSockets of an application: which close each gets, when, and what is awaited."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from tests.asgi._sockets import HTTP_1, HTTP_2, TRIO, Socket, send_over, tcp_server
from tests.contract._bench import about
from wsnursery import (
    LocalProtocolError,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
    websocket_app,
)
from wsnursery.hypercorn._drain import ASGIApp, Drain, DrainPolicy

Handler = Callable[[WebSocket], Awaitable[None]]


async def echo(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        await ws.send(message)


async def raw_echo(scope: Any, receive: Any, send: Any) -> None:
    """The same, without this library."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def raw_sleep(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await anyio.sleep_forever()


def drain_of(app: ASGIApp, **policy: Any) -> Drain:
    return Drain(
        app, DrainPolicy(**{"timeout": 10, "spread": 5, "code": 1012, "reason": "", **policy})
    )


@asynccontextmanager
async def serving(
    drain: Drain, count: int = 1, send: Any = None
) -> AsyncGenerator[tuple[TaskGroup, list[testing.Server]]]:
    """This many connections, and a group for `Drain.run`. Nothing may be left behind."""
    servers = [testing.Server() for _ in range(count)]
    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        for server in servers:
            tasks.start_soon(drain, server.scope, server.receive, send or server.send)
        await anyio.wait_all_tasks_blocked()
        yield tasks, servers
        tasks.cancel_scope.cancel()


def closes(servers: list[testing.Server]) -> list[tuple[int | None, str] | None]:
    return [server.transcript.app_close for server in servers]


@pytest.mark.parametrize("app", [websocket_app(echo), raw_echo], ids=["ours", "raw"])
async def test_every_websocket_is_closed(app: ASGIApp) -> None:
    drain = drain_of(app, code=1001, reason="bye")
    async with serving(drain, 3) as (tasks, servers):
        assert not drain.is_idle
        began = anyio.current_time()
        await drain.run(tasks)
        assert anyio.current_time() == about(began)
        assert closes(servers) == [(1001, "bye")] * 3
        assert drain.is_idle


async def test_no_server_is_there() -> None:
    async with anyio.create_task_group() as tasks:
        await drain_of(websocket_app(echo)).run(tasks)
        assert anyio.current_time() == about(0)


async def test_the_scope_of_the_server_is_not_changed() -> None:
    server = testing.Server()
    before = dict(server.scope["extensions"])
    drain = drain_of(websocket_app(echo))
    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        tasks.start_soon(drain, server.scope, server.receive, server.send)
        await anyio.wait_all_tasks_blocked()
        server.peer.close()
    assert server.scope["extensions"] == before


async def test_a_handshake_that_is_not_accepted_gets_503() -> None:
    async def undecided(ws: WebSocket) -> None:
        await anyio.sleep_forever()

    drain = drain_of(websocket_app(undecided))
    async with serving(drain) as (tasks, (server,)):
        await drain.run(tasks)
        assert denial(server)[0] == 503


async def test_a_handshake_during_the_drain_gets_503() -> None:
    drain = drain_of(websocket_app(echo))
    async with anyio.create_task_group() as tasks:
        await drain.run(tasks)
    late, gone = testing.Server(), testing.Server()
    gone.peer.vanish()
    for server in (late, gone):
        async with testing.no_leaks():
            await drain(server.scope, server.receive, server.send)
    status, headers, body = denial(late)
    assert (status, headers[b"retry-after"]) == (503, b"1")
    assert b"try again" in body


def denial(server: testing.Server) -> tuple[int, dict[bytes, bytes], bytes]:
    """The response that the server got."""
    wire = server._channel
    assert wire.denial is not None
    status, headers = wire.denial
    return status, dict(headers), wire.denial_body


@pytest.mark.parametrize(
    ("count", "spread", "last"),
    [(30, 5, 0.2), (150, 1, 0.9), (50, 0, 0), (50, 0.05, 0), (11, 5, 0.1), (10, 5, 0)],
)
async def test_the_closes_are_spread(count: int, spread: float, last: float) -> None:
    times: list[float] = []

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        times.append(anyio.current_time())

    drain = drain_of(websocket_app(handler), spread=spread)
    async with serving(drain, count) as (tasks, _):
        began = anyio.current_time()
        await drain.run(tasks)
    assert len(times) == count
    assert times[-1] - began == about(last)
    biggest = max(times.count(moment) for moment in set(times))
    assert biggest == max(10, -(-count // max(1, int(spread * 10))))


async def test_a_connection_that_ended_before_its_turn_is_not_closed() -> None:
    drain = drain_of(websocket_app(echo), spread=5)
    async with serving(drain, 20) as (tasks, servers):
        tasks.start_soon(drain.run, tasks)
        await anyio.sleep(0.05)
        waiting = [server for server in servers if server.transcript.app_close is None]
        for server in waiting:
            server.peer.close(4000)
        await anyio.sleep(1)
        assert closes(waiting) == [None] * 10


@pytest.mark.parametrize("seconds", [0.5, 30])
async def test_one_that_is_opened_but_not_entered_is_denied_at_once(seconds: float) -> None:
    """Between the two a handler may ask a database who the client is."""
    ends: list[str] = []

    async def authenticates(scope: Any, receive: Any, send: Any) -> None:
        ws = open_websocket(scope, receive, send)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(seconds)
        try:
            async with ws:
                await ws.accept()
        except WebSocketDisconnected as exc:
            ends.append(str(exc))

    drain = drain_of(authenticates, timeout=1, spread=0)
    async with serving(drain) as (tasks, (server,)):
        tasks.start_soon(drain.run, tasks)
        await anyio.sleep(0.01)
        assert denial(server)[0] == 503
        await anyio.sleep(seconds + 1)
        assert len(ends) == 1


async def test_one_that_is_opened_after_the_drain_began_meets_a_client_that_has_gone() -> None:
    outcomes: list[BaseException] = []

    async def authenticates(scope: Any, receive: Any, send: Any) -> None:
        await anyio.sleep(0.5)
        with pytest.raises(WebSocketDisconnected) as caught:
            async with open_websocket(scope, receive, send) as ws:
                await ws.accept()
        outcomes.append(caught.value)

    drain = drain_of(authenticates, timeout=1, spread=0)
    async with serving(drain) as (tasks, (server,)):
        began = anyio.current_time()
        await drain.run(tasks)
        assert anyio.current_time() == about(began + 0.5)
        assert denial(server)[0] == 503
        assert len(outcomes) == 1


@pytest.mark.parametrize("hurry", [False, True])
async def test_handlers_that_take_too_long_are_cancelled(hurry: bool) -> None:
    unwound: list[float] = []

    async def slow(ws: WebSocket) -> None:
        await ws.accept()
        try:
            async for _ in ws:
                pass
            await anyio.sleep(2)  # within the grace of the connection
        finally:
            unwound.append(anyio.current_time())

    drain = drain_of(websocket_app(slow), timeout=1, spread=0)
    async with serving(drain) as (tasks, servers):
        began = anyio.current_time()
        if hurry:
            tasks.start_soon(later, 0.5, drain.hurry)
        await drain.run(tasks)
        assert closes(servers) == [(1012, "")]
        assert drain.is_idle
    assert unwound == [about(began + (0.5 if hurry else 1))]


async def test_a_call_cancelled_before_its_turn_still_notifies() -> None:
    drain = drain_of(websocket_app(echo), timeout=10, spread=10)
    async with serving(drain, 50) as (tasks, servers):
        tasks.start_soon(later, 0.05, drain.hurry)
        began = anyio.current_time()
        await drain.run(tasks)
        assert anyio.current_time() < began + 0.2
        assert closes(servers) == [(1012, "")] * 50


async def later(seconds: float, action: Callable[[], None]) -> None:
    await anyio.sleep(seconds)
    action()


async def test_it_waits_no_longer_for_what_does_not_end() -> None:
    drain = drain_of(raw_sleep, timeout=1, spread=0)
    async with serving(drain) as (tasks, servers):
        began = anyio.current_time()
        await drain.run(tasks)
        assert anyio.current_time() == about(began + 1 + 1)
        assert closes(servers) == [(1012, "")]
        assert not drain.is_idle


@pytest.mark.parametrize(("protocol", "dropped"), [(HTTP_1, True), (HTTP_2, False)])
async def test_a_raw_handler_whose_peer_does_not_read_is_freed(
    protocol: str, dropped: bool
) -> None:
    sock = Socket()
    send = send_over(tcp_server(TRIO, sock), protocol)
    drain = drain_of(raw_sleep, timeout=1, spread=0)
    async with serving(drain, send=send) as (tasks, _):
        await drain.run(tasks)
        assert sock.done == (["reset when closed", "closed"] if dropped else [])


async def test_it_is_idle_when_no_request_and_no_websocket_is_served() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await anyio.sleep(1)

    drain, server = drain_of(app), testing.Server()
    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        for kind in ("http", "websocket"):
            tasks.start_soon(drain, {"type": kind}, server.receive, server.send)
        await anyio.wait_all_tasks_blocked()
        assert not drain.is_idle
    assert drain.is_idle


async def test_waiting_until_it_is_idle() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await anyio.sleep(float(scope["path"]))

    drain, server = drain_of(app), testing.Server()
    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        await drain.until_idle()
        began = anyio.current_time()
        for path in ("1", "2"):
            scope = {"type": "http", "path": path}
            tasks.start_soon(drain, scope, server.receive, server.send)
        await anyio.sleep(0.1)
        await drain.until_idle()
        assert anyio.current_time() == about(began + 2)


async def test_handlers_are_described() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await anyio.sleep_forever()

    drain, server = drain_of(app), testing.Server()
    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        for scope in ({"type": "http", "path": "/a\n", "client": ("::1", 7)}, {"type": "http"}):
            tasks.start_soon(drain, scope, server.receive, server.send)
        await anyio.sleep(0.1)
        second, first = sorted(drain.describe_handlers())
        assert first.startswith("http '/a\\n' of ::1:7, in test_handlers_are_described")
        assert second.startswith("http '', in test_handlers_are_described")
        tasks.cancel_scope.cancel()


async def test_the_websockets_of_a_peer_that_has_gone_are_broken_off() -> None:
    outcomes: list[BaseException | None] = []

    async def idle(scope: Any, receive: Any, send: Any) -> None:
        ws = open_websocket(scope, receive, send)
        if scope["path"] == "/not entered":
            await anyio.sleep_forever()
        with pytest.raises(WebSocketDisconnected) as caught:
            async with ws:
                await ws.accept()
                await anyio.sleep_forever()
        outcomes.append(caught.value.__cause__)

    drain = drain_of(idle)
    first, second = tcp_server(TRIO, Socket()), tcp_server(TRIO, Socket())
    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        for server, path in ((first, "/"), (first, "/not entered"), (second, "/")):
            peer = testing.Server()
            send = Relayed(server, peer)
            tasks.start_soon(drain, {**peer.scope, "path": path}, peer.receive, send.method)
        await anyio.sleep(1)
        drain.peer_has_gone(first)
        await anyio.sleep(1)
        assert [type(outcome) for outcome in outcomes] == [ConnectionAbortedError]
        tasks.cancel_scope.cancel()


class Relayed:
    """An ASGI `send` of an in-memory server, found over a network connection of Hypercorn."""

    def __init__(self, server: Any, peer: testing.Server) -> None:
        self.send = send_over(server).__self__.send
        self._peer = peer

    async def method(self, event: Any) -> None:
        await self._peer.send(event)


async def test_other_scopes_go_through() -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    server = testing.Server()
    scope = {"type": "lifespan"}
    await drain_of(app)(scope, server.receive, server.send)
    assert scopes == [scope]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"code": 1005}, LocalProtocolError),
        ({"reason": "x" * 124}, LocalProtocolError),
        ({"spread": 11}, ValueError),
        ({"spread": -1}, ValueError),
        ({"timeout": float("inf")}, ValueError),
        ({"timeout": float("nan")}, ValueError),
    ],
    ids=repr,
)
def test_a_policy_that_makes_no_sense(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        drain_of(raw_echo, **wrong)
