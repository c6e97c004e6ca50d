"""The network connections of a run: one that fails, one whose peer has closed, and all of them."""

import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.asgi._sockets import ASYNCIO, TRIO, Socket, tcp_server
from wsnursery import testing
from wsnursery.hypercorn._network import HANGUP, HANGUP_CHECK_SECONDS, NetworkConnections
from wsnursery.hypercorn._protocol import rebound

Serve = Callable[[Any], Awaitable[None]]


class Notified(list[object]):
    """The reports about peers that have gone."""

    def __call__(self, server: object) -> None:
        self.append(server)


def network(timeout: float | None = 10) -> tuple[NetworkConnections, Notified]:
    notified = Notified()
    return NetworkConnections(timeout, notified), notified


async def test_one_that_fails_is_logged_once_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    connections, _ = network()

    async def fail(_server: object) -> None:
        async with anyio.create_task_group():
            raise UnicodeDecodeError("ascii", b"\xff", 0, 1, "not ASCII")

    for _ in range(2):
        await connections._guard(tcp_server(TRIO, Socket()), fail)
    assert len(connections) == 0
    first, second = caplog.records
    assert "closed a network connection, because serving it failed: UnicodeDecodeError" in (
        first.getMessage()
    )
    assert first.getMessage().endswith("fail")
    # The traceback of one place is logged once: a hostile client must not fill the disk.
    assert first.exc_info is not None
    assert second.exc_info is None


async def test_the_log_names_the_peer(caplog: pytest.LogCaptureFixture) -> None:
    connections, _ = network()

    async def fail(_server: object) -> None:
        raise LookupError

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        accepted, address = listener.accept()
        with accepted:
            await connections._guard(Serving(accepted), fail)
    assert f" from 127.0.0.1:{address[1]}," in caplog.text


async def test_a_cancellation_goes_through() -> None:
    connections, _ = network()

    async def wait(_server: object) -> None:
        await anyio.sleep_forever()

    with anyio.move_on_after(1) as scope:
        await connections._guard(tcp_server(TRIO, Socket()), wait)
    assert scope.cancelled_caught


@pytest.mark.parametrize("module", [TRIO, ASYNCIO])
async def test_all_can_be_dropped(module: str) -> None:
    connections, _ = network()
    sockets = [Socket(), Socket()]

    async def wait(_server: object) -> None:
        await anyio.sleep_forever()

    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        for sock in sockets:
            tasks.start_soon(connections._guard, tcp_server(module, sock), wait)
        closed = tcp_server(ASYNCIO, Socket())
        closed.writer.get_extra_info = lambda _name: None
        tasks.start_soon(connections._guard, closed, wait)
        await anyio.sleep(1)
        assert len(connections) == 3
        connections.drop_all()
        tasks.cancel_scope.cancel()
    assert [sock.done[-1] for sock in sockets] == ["closed", "closed"]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a connection: the server's and the peer's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class Serving:
    """A connection of Hypercorn, with a peer that the test plays."""

    def __init__(self, ours: socket.socket) -> None:
        self.count: int | None = 0
        self.stream = SimpleNamespace(socket=ours)
        self.protocol = SimpleNamespace(waits_for_application=lambda: self.count)
        self.ended: float | None = None

    async def run(self, _server: object) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self.ended = anyio.current_time()


linux = pytest.mark.skipif(HANGUP is None, reason="there is no POLLRDHUP here")


@linux
@pytest.mark.parametrize("how", ["close", "half-close"])
async def test_a_peer_that_has_closed_is_noticed(
    pair: tuple[socket.socket, socket.socket], how: str
) -> None:
    connections, notified = network()
    ours, theirs = pair
    serving = Serving(ours)
    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        tasks.start_soon(connections._guard, serving, serving.run)
        tasks.start_soon(connections.look_for_hangups)
        await anyio.sleep(60)
        assert notified == []
        theirs.send(b"unread")
        began = anyio.current_time()
        if how == "close":
            theirs.close()
        else:
            theirs.shutdown(socket.SHUT_WR)
        await anyio.sleep(10 + 2 * HANGUP_CHECK_SECONDS + 0.1)
        assert notified == [serving]
        await anyio.sleep(HANGUP_CHECK_SECONDS)
        # Its application did not end: it is cancelled.
        assert serving.ended is not None
        assert serving.ended <= began + 10 + 3 * HANGUP_CHECK_SECONDS
        tasks.cancel_scope.cancel()


@linux
async def test_a_handler_that_reads_slowly_keeps_its_connection(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    connections, notified = network()
    ours, theirs = pair
    serving = Serving(ours)
    theirs.close()
    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        tasks.start_soon(connections._guard, serving, serving.run)
        tasks.start_soon(connections.look_for_hangups)
        for number in range(1, 20):
            await anyio.sleep(8)
            serving.count = number
        serving.count = None  # all is delivered; the handler is notified, and takes its time
        await anyio.sleep(100)
        assert notified == []
        tasks.cancel_scope.cancel()


@linux
async def test_one_whose_socket_the_loop_has_closed_is_noticed(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """asyncio closes the socket at a reset, but Hypercorn may still wait for the handler."""
    connections, notified = network(0.5)
    begun, closed = Serving(pair[0]), Serving(pair[1])
    pair[1].close()
    del begun.protocol  # it is not known yet whether it is HTTP/1 or HTTP/2
    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        for serving in (begun, closed):
            tasks.start_soon(connections._guard, serving, serving.run)
        tasks.start_soon(connections.look_for_hangups)
        await anyio.sleep(3)
        assert notified == [closed]
        tasks.cancel_scope.cancel()


async def test_without_a_limit_it_does_not_look() -> None:
    connections, _ = network(None)
    await connections.look_for_hangups()


def test_another_hypercorn_is_met_with_a_sentence() -> None:
    with pytest.raises(AttributeError, match="test_network has no TCPServer"):
        rebound(network, TCPServer=Serving)


def test_a_rebound_function_is_the_same_but_for_the_names() -> None:
    def late(*, seconds: float = 1.5) -> float:
        return time.time() + seconds

    assert rebound(late, time=SimpleNamespace(time=lambda: 3))() == 4.5
    assert rebound(late, time=SimpleNamespace(time=lambda: 3)).__qualname__ == late.__qualname__
    assert late() > 4.5
