"""Connecting to a server over trio-websocket."""

import pickle
import ssl
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from tests.trio_websocket._peers import URL, Peer, client
from wsnursery import Options, WebSocket
from wsnursery.testing import virtual_backend
from wsnursery.trio_websocket import HandshakeRejected
from wsnursery.trio_websocket._client import CONNECT_SECONDS, client_over, dial
from wsnursery.trio_websocket._handshaking import HANDSHAKE_SECONDS
from wsnursery.trio_websocket._url import parse_url


@pytest.fixture
def anyio_backend():
    return virtual_backend("trio")


async def connect_to(stream: trio.abc.Stream) -> WebSocket:
    """Enter and leave the block of a client."""
    async with client_over(stream, parse_url(URL), ["chat"], [(b"x-id", b"1")], Options()) as ws:
        return ws


async def test_request():
    ours, theirs = memory_stream_pair()
    requests: list[Any] = []

    async def server() -> None:
        peer = Peer.server(theirs)
        requests.append(await peer.accept(subprotocol="chat"))
        await peer.serve()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        ws = await connect_to(ours)
    (request,) = requests
    assert (request.host, request.target) == ("example.org", "/chat?room=1")
    assert (b"x-id", b"1") in request.extra_headers
    assert request.subprotocols == ["chat"]
    assert (ws.state, ws.close_code) == ("closed", 1000)


@pytest.mark.parametrize("body", [b"not here", b""])
async def test_rejected(body: bytes):
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Peer.server(theirs).reject, 404, body)
        with pytest.raises(HandshakeRejected, match="with status 404") as caught:
            await connect_to(ours)
    assert (caught.value.status, caught.value.body) == (404, body)
    assert (b"content-length", str(len(body)).encode()) in caught.value.headers
    assert isinstance(caught.value, ConnectionError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.status, copy.body, str(copy)) == (404, body, str(caught.value))
    assert await theirs.receive_some() == b""  # nothing is left open


async def reject_for_ever(theirs: trio.abc.Stream) -> int:
    """A server that never ends its answer; how many bytes of it were taken."""
    taken, chunk = 0, b"x" * 1000
    await theirs.receive_some()
    await theirs.send_all(b"HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n")
    while taken < 10_000_000:
        try:
            await theirs.send_all(b"3e8\r\n" + chunk + b"\r\n")
        except trio.BrokenResourceError:
            break
        taken += len(chunk)
    return taken


async def test_the_body_of_a_rejection_has_a_bound():
    ours, theirs = memory_stream_pair()
    taken = 0

    async def server() -> None:
        nonlocal taken
        taken = await reject_for_ever(theirs)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        with pytest.raises(OSError, match="more than a handshake may have"):
            async with client_over(ours, parse_url(URL), [], [], Options(max_message_size=100_000)):
                pytest.fail("connected")
    assert 100_000 <= taken < 1_000_000


async def test_a_large_message_right_behind_the_handshake():
    """The bound is one for the answer to the handshake alone."""
    ours, theirs = memory_stream_pair()
    peer = Peer.server(theirs)
    text = "x" * 100_000

    async def server() -> None:
        request = await peer.next()
        assert isinstance(request, Request)
        await peer.send(AcceptConnection(), *[TextMessage(data=text)] * 3)
        assert await peer.close_frame() == (1000, "")
        await peer.send(CloseConnection(code=1000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        async with client_over(
            ours, parse_url(URL), [], [], Options(max_message_size=100_000)
        ) as ws:
            for _ in range(3):
                assert await ws.receive() == text


async def test_server_that_says_nothing():
    ours, theirs = memory_stream_pair()
    with pytest.raises(TimeoutError):
        await connect_to(ours)
    assert trio.current_time() == HANDSHAKE_SECONDS
    await theirs.receive_some()
    assert await theirs.receive_some() == b""


async def test_cancelled_while_connecting():
    ours, theirs = memory_stream_pair()
    with trio.move_on_after(1) as limit:
        await connect_to(ours)
    assert limit.cancelled_caught
    await theirs.receive_some()
    assert await theirs.receive_some() == b""


async def test_stream_is_closed_at_the_end():
    async with client() as (ws, peer):
        await peer.send(CloseConnection(code=1000))
        assert [message async for message in ws] == []
    with pytest.raises(trio.ClosedResourceError):
        await ws._transport._stream.receive_some()  # type: ignore[attr-defined]


async def test_dialling(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, int]] = []
    stream, _ = memory_stream_pair()

    async def open_tcp_stream(host: str, port: int) -> trio.abc.Stream:
        asked.append((host, port))
        return stream

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    assert await dial(parse_url("ws://example.org:8000/"), None) is stream
    secured = await dial(parse_url("wss://example.org/"), None)
    assert isinstance(secured, trio.SSLStream)
    assert secured.transport_stream is stream
    assert secured.server_hostname == "example.org"
    assert secured.context.verify_mode is ssl.CERT_REQUIRED
    context = ssl.create_default_context()
    secured = await dial(parse_url("wss://example.org/"), context)
    assert isinstance(secured, trio.SSLStream)
    assert secured.context is context
    assert asked == [("example.org", 8000), ("example.org", 443), ("example.org", 443)]


async def test_host_that_does_not_answer(monkeypatch: pytest.MonkeyPatch):
    async def open_tcp_stream(host: str, port: int) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    with pytest.raises(TimeoutError):
        await dial(parse_url(URL), None)
    assert trio.current_time() == CONNECT_SECONDS
