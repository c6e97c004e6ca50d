"""One run of Hypercorn: what is done before, during and after it.

Most tests put something simpler in Hypercorn's place; `tests/servers` has the real thing.
"""

import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import hypercorn.config
import pytest
from hypercorn.config import Sockets

from tests.asgi._sockets import TRIO, Socket, send_over, tcp_server
from tests.contract._bench import about
from wsnursery import WebSocket, testing, websocket_app
from wsnursery.hypercorn import Config, DeploymentError
from wsnursery.hypercorn._config import bind
from wsnursery.hypercorn._drain import ASGIApp, DrainPolicy
from wsnursery.hypercorn._network import NetworkConnections
from wsnursery.hypercorn._run import LATE_SECONDS
from wsnursery.hypercorn._serving import drain_policy, only_leaf, serve_on
from wsnursery.hypercorn._signals import ProcessSignals

POLICY = DrainPolicy(timeout=10, spread=0, code=1012, reason="")


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    """A listening socket to which no client connects."""
    bound = bind(Config.from_mapping(bind="127.0.0.1:0"))
    yield bound
    assert all(sock.fileno() == -1 for sock in bound.insecure_sockets)


@websocket_app
async def echo(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        await ws.send(message)


class Hypercorn:
    """In place of Hypercorn: it starts up, lets the test run, and stops when it is triggered."""

    def __init__(self) -> None:
        self.app: Any
        self.config: hypercorn.config.Config
        self.startup: Callable[[], Awaitable[object]] = anyio.sleep_forever
        self.clients: list[testing.Server] = []
        self.send: Any = None
        self.stops_after: float | None = None
        self.terminates_after: float | None = None

    async def serve(
        self, app: Any, config: hypercorn.config.Config, *, shutdown_trigger: Any
    ) -> None:
        self.app, self.config = app, config
        await self.startup()
        config.create_sockets()
        async with anyio.create_task_group() as connections:
            for client in self.clients:
                connections.start_soon(app, client.scope, client.receive, self.send or client.send)
            with anyio.move_on_after(self.terminates_after):
                await shutdown_trigger()
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.stops_after or 0)
            connections.cancel_scope.deadline = anyio.current_time() + config.graceful_timeout


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Hypercorn:
    """The function in Hypercorn's place. It has started up."""
    server = Hypercorn()
    server.startup = partial(anyio.sleep, 0)
    monkeypatch.setattr(NetworkConnections, "hypercorn_serve", lambda _network: server.serve)
    return server


async def at(seconds: float) -> None:
    """A trigger."""
    await anyio.sleep(seconds)


async def test_the_real_one_starts_and_stops(sockets: Sockets) -> None:
    addresses: list[list[str]] = []
    went: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            went.append(phase)
            await send({"type": f"lifespan.{phase}.complete"})

    config = Config.from_mapping(loglevel="ERROR", workers=4)
    port = sockets.insecure_sockets[0].getsockname()[1]
    await serve_on(sockets, app, config, POLICY, trigger=partial(at, 0), report=addresses.append)
    assert addresses == [[f"http://127.0.0.1:{port}"]]
    assert went == ["startup", "shutdown"]
    assert config.workers == 4
    assert "create_sockets" not in vars(config)


async def test_the_real_one_takes_connections(sockets: Sockets) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    answers: list[bytes] = []

    async def trigger() -> None:
        async with await anyio.connect_tcp(*sockets.insecure_sockets[0].getsockname()) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answers.append(await client.receive())

    config = Config.from_mapping(loglevel="ERROR")
    await serve_on(sockets, app, config, POLICY, trigger=trigger)
    assert answers[0].startswith(b"HTTP/1.1 204")


def test_the_addresses(tmp_path: Path) -> None:
    from wsnursery.hypercorn._listening import addresses

    with (
        socket.create_server(("127.0.0.1", 0)) as plain,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_INET6) as six,
    ):
        unix.bind(str(tmp_path / "socket"))
        try:
            six.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        assert list(addresses(Sockets([plain, six], [unix], []))) == [
            f"https://127.0.0.1:{plain.getsockname()[1]}",
            f"https://[::1]:{six.getsockname()[1]}",
            f"http://unix:{tmp_path / 'socket'}",
        ]


async def run(sockets: Sockets, app: ASGIApp = echo, **options: Any) -> float:
    """Serve until the trigger. Return how long it took."""
    config = Config.from_mapping(graceful_timeout=3)
    began = anyio.current_time()
    options.setdefault("signals", False)
    async with testing.no_leaks():
        await serve_on(sockets, app, config, POLICY, **options)
    return anyio.current_time() - began


async def test_it_drains_before_hypercorn_stops(server: Hypercorn, sockets: Sockets) -> None:
    server.clients = [testing.Server(), testing.Server()]
    took = await run(sockets, trigger=partial(at, 5))
    assert [client.transcript.app_close for client in server.clients] == [(1012, "")] * 2
    assert took == about(5)
    assert server.config.graceful_timeout == 0  # it waits only for Hypercorn's own tasks


async def test_what_does_not_end_has_hypercorns_own_time(
    server: Hypercorn, sockets: Sockets
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await anyio.sleep_forever()

    server.clients = [testing.Server()]
    assert await run(sockets, app, trigger=partial(at, 5)) == about(5 + 10 + 1 + 3)


async def test_what_hypercorn_waits_for_too_long_is_dropped(
    server: Hypercorn, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []

    def dropped(_network: object = None) -> None:
        times.append(anyio.current_time())

    monkeypatch.setattr(NetworkConnections, "drop_all", dropped)
    server.clients = [testing.Server()]
    server.send = send_over(tcp_server(TRIO, Socket(on_close=dropped)))
    server.stops_after = 2.5

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await anyio.sleep_forever()

    began = anyio.current_time()
    await run(sockets, app, trigger=partial(at, 5))
    cut = began + 5 + 10
    # After the grace period of 3 s, and again after each second.
    late = cut + 1 + 3 + LATE_SECONDS
    assert times == list(map(about, [cut, late, late + LATE_SECONDS, late + 1.5 * LATE_SECONDS]))


async def test_hypercorn_stops_by_itself(server: Hypercorn, sockets: Sockets) -> None:
    server.terminates_after = 2
    server.stops_after = 5
    assert await run(sockets) == about(7)


async def test_hypercorn_that_takes_its_time_without_a_handler_is_waited_for(
    server: Hypercorn, sockets: Sockets, caplog: pytest.LogCaptureFixture
) -> None:
    server.stops_after = 40
    assert await run(sockets, trigger=partial(at, 1)) == about(41)
    assert "does not end" not in caplog.text


async def test_a_cancellation_stops_it_too(server: Hypercorn, sockets: Sockets) -> None:
    server.clients = [testing.Server()]
    began = anyio.current_time()
    with anyio.move_on_after(2) as scope:
        await run(sockets)
    assert scope.cancelled_caught
    assert anyio.current_time() == about(began + 2)
    assert server.clients[0].transcript.app_close == (1012, "")


async def test_a_cancellation_before_it_has_started(server: Hypercorn, sockets: Sockets) -> None:
    server.startup = anyio.sleep_forever
    with anyio.move_on_after(2) as scope:
        await run(sockets)
    assert scope.cancelled_caught


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_stop_it(server: Hypercorn, sockets: Sockets, number: signal.Signals) -> None:
    async def slow(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        await anyio.sleep(4)

    server.clients = [testing.Server()]

    async def send_signals() -> None:
        await anyio.sleep(1)
        os.kill(os.getpid(), number)  # drain
        await anyio.sleep(2)
        os.kill(os.getpid(), number)  # stop draining
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_signals)
        took = await run(sockets, websocket_app(slow), signals=True)
        tasks.cancel_scope.cancel()
    assert took == about(3)


async def test_a_signal_that_the_process_ignores_stays_ignored(
    server: Hypercorn, sockets: Sockets
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:

        async def trigger() -> None:
            await anyio.sleep(1)
            os.kill(os.getpid(), signal.SIGINT)
            await anyio.sleep(1)

        assert await run(sockets, trigger=trigger, signals=True) == about(2)
    finally:
        signal.signal(signal.SIGINT, before)


async def test_in_another_thread_there_are_no_signals(
    server: Hypercorn, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "main_thread", lambda: None)
    assert await run(sockets, trigger=partial(at, 1), signals=True) == about(1)


@pytest.mark.parametrize("ends_the_process", [False, True])
async def test_handlers_that_do_not_end_are_named(
    server: Hypercorn,
    sockets: Sockets,
    ends_the_process: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = anyio.Event()
    abandoned: list[float] = []

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stubborn_child)

    async def stubborn_child() -> None:
        with anyio.CancelScope(shield=True):
            await ended.wait()

    def abandon() -> None:
        abandoned.append(anyio.current_time())
        ended.set()

    monkeypatch.setattr("wsnursery.hypercorn._run.abandon", abandon)
    server.clients = [testing.Server(path="/there")]
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        if not ends_the_process:

            async def let_go() -> None:
                await anyio.sleep(40)
                ended.set()

            tasks.start_soon(let_go)
        with ProcessSignals(20) as signals:
            given = signals if ends_the_process else False
            await run(sockets, stubborn, trigger=partial(at, 5), signals=given)
    (line,) = [record.getMessage() for record in caplog.records if "does not" in record.msg]
    assert line.startswith("a handler does not end: websocket '/there' of ")
    assert "in test_handlers_that_do_not_end_are_named.<locals>.stubborn_child (test_serv" in line
    # The drain, its cancellations, and twice Hypercorn's grace period with a check after each.
    bound = 10 + 1 + 2 * (3 + 1)
    assert abandoned == ([about(began + 5 + bound)] if ends_the_process else [])


async def test_a_second_signal_gives_them_a_moment(
    server: Hypercorn, sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = anyio.Event()
    abandoned: list[float] = []

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        with anyio.CancelScope(shield=True):
            await ended.wait()

    def abandon() -> None:
        abandoned.append(anyio.current_time())
        ended.set()

    monkeypatch.setattr("wsnursery.hypercorn._run.abandon", abandon)
    server.clients = [testing.Server()]
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:

        async def twice() -> None:
            for _ in range(2):
                await anyio.sleep(2)
                signal.raise_signal(signal.SIGTERM)

        tasks.start_soon(twice)
        with ProcessSignals(20) as signals:
            await run(sockets, stubborn, signals=signals)
    assert abandoned == [about(began + 4 + 1.5)]


async def test_what_the_application_raises_at_its_start_is_raised(sockets: Sockets) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise LookupError("no database")

    config = Config.from_mapping(loglevel="ERROR")
    with pytest.raises(LookupError, match="no database"):
        await serve_on(sockets, app, config, POLICY, signals=False)


async def test_what_hypercorn_raises_is_bare(server: Hypercorn, sockets: Sockets) -> None:
    async def fail() -> None:
        async with anyio.create_task_group():
            raise LookupError("no such thing")

    server.startup = fail
    with pytest.raises(LookupError, match="no such thing"):
        await run(sockets)


async def test_what_the_trigger_raises_is_bare(server: Hypercorn, sockets: Sockets) -> None:
    async def trigger() -> None:
        raise LookupError("no such thing")

    with pytest.raises(LookupError, match="no such thing"):
        await run(sockets, trigger=trigger)


def test_several_errors_stay_together() -> None:
    one, two = LookupError(), OSError()
    several = ExceptionGroup("", [one, ExceptionGroup("", [two])])
    assert only_leaf(several) is several
    assert only_leaf(ExceptionGroup("", [ExceptionGroup("", [two])])) is two


@pytest.mark.parametrize("stays", ["startup", "startup received", "startup complete", "shutdown"])
async def test_an_application_may_leave_the_lifespan(
    server: Hypercorn, sockets: Sockets, stays: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if stays == "startup":
            return
        await receive()
        if stays == "startup received":
            return
        await send({"type": "lifespan.startup.complete"})
        if stays == "shutdown":
            await receive()
            await send({"type": "lifespan.shutdown.complete"})

    assert await lifespan(server, sockets, app) == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


async def lifespan(server: Hypercorn, sockets: Sockets, app: ASGIApp) -> list[str]:
    """The events that are sent in a lifespan."""
    sent: list[str] = []
    waiting = ["lifespan.startup", "lifespan.shutdown"]

    async def receive() -> Any:
        return {"type": waiting.pop(0)}

    async def send(event: Any) -> None:
        sent.append(event["type"])

    async def startup() -> None:
        await server.app({"type": "lifespan"}, receive, send)

    server.startup = startup
    await run(sockets, app, trigger=partial(at, 0))
    assert waiting == []
    return sent


def test_the_policy_is_the_configurations() -> None:
    config = Config.from_mapping(drain_timeout=7, drain_spread=1, drain_code=1001, drain_reason="x")
    assert drain_policy(config) == DrainPolicy(timeout=7, spread=1, code=1001, reason="x")
    assert drain_policy(config, timeout=8, spread=None) == DrainPolicy(
        timeout=8, spread=1, code=1001, reason="x"
    )
    theirs = drain_policy(hypercorn.config.Config(), reason="")
    assert theirs == DrainPolicy(timeout=15, spread=5, code=1012, reason="")


@pytest.mark.parametrize(
    "wrong", [{"drain_timeout": "long"}, {"drain_spread": 100}, {"drain_code": 1005}], ids=repr
)
def test_a_policy_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(DeploymentError, match="cannot drain so: "):
        drain_policy(Config.from_mapping(wrong))
