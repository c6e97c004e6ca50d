"""Serving WebSockets over trio-websocket: one connection, and the run of a server."""

import logging
import ssl
from collections.abc import Callable
from typing import Self

import anyio
import pytest
import trio
from trio.testing import memory_stream_pair
from wsproto.events import AcceptConnection, CloseConnection, RejectConnection, Request, TextMessage

from tests.trio_websocket._peers import Peer, serving
from wsnursery import Options, WebSocket, WebSocketDisconnected
from wsnursery.testing import virtual_backend
from wsnursery.trio_websocket import Listening
from wsnursery.trio_websocket._handshaking import HANDSHAKE_SECONDS
from wsnursery.trio_websocket._server import HANDLER_SECONDS, TrioServer, listening


@pytest.fixture
def anyio_backend():
    return virtual_backend("trio")


async def echo(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws:
        await ws.send(message)


class Network:
    """A listener, and clients that connect to it."""

    def __init__(self) -> None:
        self._dial, self._answer = trio.open_memory_channel[trio.abc.Stream](100)

    async def accept(self) -> trio.abc.Stream:
        return await self._answer.receive()

    async def aclose(self) -> None:
        await self._answer.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def connect(self) -> Peer:
        ours, theirs = memory_stream_pair()
        await self._dial.send(theirs)
        return Peer.client(ours)

    async def open(self) -> Peer:
        peer = await self.connect()
        assert isinstance(await peer.open(), AcceptConnection)
        return peer


async def test_echo():
    async with serving(echo) as peer:
        await peer.send(TextMessage(data="hello"))
        event = await peer.next()
        assert isinstance(event, TextMessage)
        assert event.data == "hello"
        await peer.send(CloseConnection(code=1000))
        assert await peer.close_frame() == (1000, "")


# contract: X1, X8
@pytest.mark.parametrize("early", [True, False])
async def test_handler_that_fails(caplog: pytest.LogCaptureFixture, early: bool):
    async def fail(ws: WebSocket) -> None:
        if not early:
            await ws.accept()
        raise LookupError("in the handler")

    async with serving(fail) as peer:
        if early:
            assert isinstance(peer.answer, RejectConnection)
        else:
            assert await peer.close_frame() == (1011, "")
            await peer.send(CloseConnection(code=1011))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("wsnursery", logging.ERROR)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


# contract: X2
async def test_child_that_fails(caplog: pytest.LogCaptureFixture):
    async def fail() -> None:
        raise LookupError("in a child")

    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(fail)
        await trio.sleep_forever()

    async with serving(handler) as peer:
        assert await peer.close_frame() == (1011, "")
        await peer.send(CloseConnection(code=1011))
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ExceptionGroup)


# contract: X8
async def test_client_that_leaves_is_no_error(caplog: pytest.LogCaptureFixture):
    async def push(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send("tick")
            await trio.sleep(1)

    caplog.set_level(logging.DEBUG, logger="wsnursery")
    async with serving(push) as peer:
        await trio.sleep(3)
        await peer.vanish()
    assert [record.levelno for record in caplog.records if record.name == "wsnursery"] == [
        logging.DEBUG
    ]


# contract: X7, X8
async def test_the_end_of_another_connection_is_an_error(caplog: pytest.LogCaptureFixture):
    other = WebSocketDisconnected(1000)

    async def proxy(ws: WebSocket) -> None:
        await ws.accept()
        raise other

    async with serving(proxy) as peer:
        assert await peer.close_frame() == (1011, "")
        await peer.send(CloseConnection(code=1011))
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is other


# contract: X6
async def test_interrupt_in_a_handler():
    async def interrupt(ws: WebSocket) -> None:
        raise KeyboardInterrupt

    with pytest.RaisesGroup(KeyboardInterrupt):
        async with serving(interrupt):
            await trio.sleep_forever()


async def test_client_that_says_nothing():
    ours, _ = memory_stream_pair()
    await TrioServer(echo, Options()).serve_stream(ours)
    assert trio.current_time() == HANDSHAKE_SECONDS


async def test_client_of_something_else(caplog: pytest.LogCaptureFixture):
    ours, theirs = memory_stream_pair()
    await theirs.send_all(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
    await TrioServer(echo, Options()).serve_stream(ours)
    assert (await theirs.receive_some()).startswith(b"HTTP/1.1 400 ")
    assert trio.current_time() == 0
    assert not caplog.records


async def start(network: Network, server: TrioServer, nursery: trio.Nursery) -> trio.CancelScope:
    """Run a server until the scope is cancelled."""
    scope = trio.CancelScope()

    async def run() -> None:
        with scope:
            await server.run([network])  # type: ignore[list-item]

    nursery.start_soon(run)
    return scope


async def test_one_that_fails_does_not_end_the_others(caplog: pytest.LogCaptureFixture):
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            if message == "fail":
                raise LookupError(message)
            await ws.send(message)

    network = Network()
    async with trio.open_nursery() as nursery:
        scope = await start(network, TrioServer(handler, Options()), nursery)
        first, second = await network.open(), await network.open()
        await first.send(TextMessage(data="fail"))
        assert await first.close_frame() == (1011, "")
        await first.send(CloseConnection(code=1011))
        await second.send(TextMessage(data="still here"))
        event = await second.next()
        assert isinstance(event, TextMessage)
        assert event.data == "still here"
        third = await network.open()
        nursery.start_soon(second.serve)
        nursery.start_soon(third.serve)
        scope.cancel()
    assert len(caplog.records) == 1


async def goodbye(peer: Peer, got: Callable[[int], None]) -> None:
    code, _ = await peer.close_frame()
    got(code)
    await peer.send(CloseConnection(code=code))


# contract: X5
async def test_drain():
    """A cancelled server closes with 1001, and its handlers end by themselves."""
    ended: list[str] = []

    async def reader(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        await trio.sleep(1)
        ended.append("by itself")

    network, codes = Network(), list[int]()
    async with trio.open_nursery() as nursery:
        scope = await start(network, TrioServer(reader, Options()), nursery)
        peers = [await network.open() for _ in range(3)]
        for peer in peers:
            nursery.start_soon(goodbye, peer, codes.append)
        scope.cancel()
    assert codes == [1001] * 3
    assert ended == ["by itself"] * 3
    assert trio.current_time() < 2


async def test_drain_is_bounded():
    cleaned = trio.Event()

    async def stubborn(ws: WebSocket) -> None:
        await ws.accept()
        try:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            await trio.sleep_forever()
        finally:
            cleaned.set()

    async def endless(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(anyio.ClosedResourceError):
            await ws.receive()
        await trio.sleep_forever()

    network = Network()
    for handler in (stubborn, endless):
        async with trio.open_nursery() as nursery:
            options = Options(grace_period=60, close_timeout=2)
            scope = await start(network, TrioServer(handler, options), nursery)
            await network.open()
            began = trio.current_time()
            scope.cancel()
        assert 3 <= trio.current_time() - began <= HANDLER_SECONDS + 3
        network = Network()
    assert cleaned.is_set()


async def test_drain_without_connections():
    async with trio.open_nursery() as nursery:
        network = Network()
        scope = await start(network, TrioServer(echo, Options()), nursery)
        idle = await network.connect()
        await trio.sleep(1)
        scope.cancel()
    assert trio.current_time() == 1
    assert await idle.stream.receive_some() == b""


async def test_handshake_that_completes_during_the_drain():
    async def slow(ws: WebSocket) -> None:
        await ws.accept()
        with trio.CancelScope(shield=True):
            await trio.sleep(5)

    network = Network()
    async with trio.open_nursery() as nursery:
        scope = await start(network, TrioServer(slow, Options(grace_period=30)), nursery)
        await network.open()
        late = await network.connect()
        await trio.sleep(1)
        scope.cancel()
        await trio.sleep(1)
        await late.send(Request(host="example.org", target="/"))
        assert await late.next() is None


async def test_closing_one_that_has_just_ended():
    """A drain and the end of a handler coincide: no error is logged."""

    async def leave(ws: WebSocket) -> None:
        await ws.accept()
        await trio.sleep(1)

    network = Network()
    async with trio.open_nursery() as nursery:
        scope = await start(network, TrioServer(leave, Options(close_timeout=1)), nursery)
        await network.open()
        await trio.sleep(1.5)  # it is in the closing handshake
        scope.cancel()


async def test_what_it_listens_on():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    (listener,) = listeners
    there = listening(listeners)
    assert there.addresses == (listener.socket.getsockname(),)
    assert there.port == listener.socket.getsockname()[1]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secured = trio.SSLListener(listener, context)
    assert listening([secured]) == there == Listening(there.addresses)
    await secured.aclose()


@pytest.mark.parametrize("host", [b"a..b", b"x" * 70, b"\xff", "bücher.example".encode()], ids=repr)
async def test_a_host_that_cannot_be_one_gets_400(
    host: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocket) -> None:
        pytest.fail("the handler ran")

    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await TrioServer(handler, Options()).serve_stream(ours)
            await ours.aclose()

        nursery.start_soon(serve)
        lines = (
            b"GET / HTTP/1.1",
            b"Host: " + host,
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==",
            b"Sec-WebSocket-Version: 13",
        )
        await theirs.send_all(b"\r\n".join(lines) + b"\r\n\r\n")
        answer = b""
        while data := await theirs.receive_some():
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert caplog.records == []


async def test_a_peer_that_does_not_take_the_400() -> None:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(b"GET / HTTP/1.1\r\nHost: a..b\r\nUpgrade: websocket\r\n")
    await theirs.send_all(b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n")
    await theirs.send_all(b"Sec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\n\r\n")
    theirs.receive_stream.close()
    await TrioServer(echo, Options()).serve_stream(ours)
