"""The applications of `examples/applications`, on servers: cookies, a drain, and coming back."""

import http.client
import json
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing

import pytest
import trio
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from examples.applications import follow
from tests.servers._harness import SERVERS, Running, running, wait_until
from tests.servers._rows import OUR_SERVERS
from tests.servers._serving import Start, starter

APPLICATIONS = "examples.applications"


@pytest.fixture(scope="module", params=["hypercorn-trio", "uvicorn-sansio"])
def chat(request: pytest.FixtureRequest) -> Iterator[Running]:
    with running(SERVERS[request.param], app=f"{APPLICATIONS}.chat:app") as started:
        yield started


def log_in(server: Running, name: str) -> str:
    """The session's cookie."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
        connection.request("POST", f"/login?name={name}", headers={"Connection": "close"})
        cookie = connection.getresponse().getheader("set-cookie") or ""
    assert "HttpOnly" in cookie
    return cookie.partition("session=")[2].partition(";")[0]


def test_a_cookie_is_who_you_are(chat: Running) -> None:
    session = log_in(chat, "Ann")
    url = f"ws://127.0.0.1:{chat.port}/rooms/cookies"
    with connect(url, additional_headers={"Cookie": f"session={session}"}) as ann:
        ann.send('{"kind": "say", "text": "hello"}')
        events = [json.loads(ann.recv(timeout=5))["event"] for _ in range(2)]
    assert [(event["who"], event["kind"]) for event in events] == [("Ann", "came"), ("Ann", "said")]


class Network:
    """Stands between a client and a server, and can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cut = trio.CancelScope()

    def cut(self) -> None:
        scope, self._cut = self._cut, trio.CancelScope()
        scope.cancel()

    async def carry(self, client: trio.SocketStream) -> None:
        async with client, await trio.open_tcp_stream("127.0.0.1", self._port) as server:
            with trio.CancelScope() as self._cut:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._pump, client, server)
                    nursery.start_soon(self._pump, server, client)

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        async for data in source:
            await sink.send_all(data)
        self._cut.cancel()


@asynccontextmanager
async def network(port: int) -> AsyncGenerator[tuple[Network, int]]:
    """In front of a port: the network, and the port that the client is to use."""
    between = Network(port)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, between.carry, 0)
        yield between, listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def test_a_follower_misses_nothing(chat: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(follow, "LONGEST_PAUSE", 0.05)
    session = log_in(chat, "Bob")
    url = f"ws://127.0.0.1:{chat.port}/rooms/follow"
    said: list[str] = []

    async def main() -> None:
        send, receive = trio.open_memory_channel[dict[str, str]](0)
        async with network(chat.port) as (between, port), trio.open_nursery() as nursery:
            follower = follow.Follower(f"ws://127.0.0.1:{port}/rooms/follow", session)
            nursery.start_soon(follower.run, send)
            cookie = {"Cookie": f"session={session}"}
            with connect(url, additional_headers=cookie, max_queue=None) as speaker:
                with trio.fail_after(20):
                    for start in (0, 10, 20):
                        for number in range(start, start + 10):
                            speaker.send(json.dumps({"kind": "say", "text": str(number)}))
                        while len(said) < start + 10:
                            event = await receive.receive()
                            if event["kind"] == "said":
                                said.append(event["text"])
                            if len(said) == start + 5:
                                between.cut()
            assert follower.connections >= 3
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert said == [str(number) for number in range(30)]


def test_a_follower_without_a_session_gives_up(chat: Running) -> None:
    follower = follow.Follower(f"ws://127.0.0.1:{chat.port}/rooms/lobby", "none")

    async def main() -> None:
        send, _ = trio.open_memory_channel[dict[str, str]](0)
        with trio.fail_after(5):
            await follower.run(send)

    with pytest.raises(follow.Refused, match="401"):
        trio.run(main)


def test_the_ticker_on_two_workers_drains(tmp_path_factory: pytest.TempPathFactory) -> None:
    start: Start = starter(OUR_SERVERS["serve-trio"], tmp_path_factory.mktemp("ticker"))
    with (
        start("--workers", "2", app=f"{APPLICATIONS}.ticker:app", drain_spread=0) as server,
        ExitStack() as stack,
    ):

        def is_healthy() -> bool:
            answer: bool = json.loads(server.get("/healthz"))["healthy"]
            return answer

        assert wait_until(is_healthy, 10), server.log
        url = f"ws://127.0.0.1:{server.port}/"
        clients = [stack.enter_context(connect(url)) for _ in range(6)]
        for client in clients:
            client.send('{"subscribe": "ACME"}')
            assert json.loads(client.recv(timeout=5))["symbol"] == "ACME"
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            with pytest.raises(ConnectionClosed):
                while True:
                    client.recv(timeout=10)
            assert client.close_code == 1012
        assert server.process.wait(20) == 0, server.log
