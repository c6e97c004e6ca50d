"""Connecting to a server over trio-websocket."""

import pickle
import ssl
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair
from wsproto.events import CloseConnection

from tests.trio_websocket._peers import URL, Peer, client
from wsnursery import Options, WebSocket
from wsnursery.testing import virtual_backend
from wsnursery.trio_websocket._client import CONNECT_SECONDS, HandshakeRejected, client_over, dial
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
