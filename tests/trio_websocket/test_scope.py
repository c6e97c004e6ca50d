"""URLs, and handshakes in the form of ASGI scopes."""

import ssl
from typing import Any

import pytest
import trio
import trio_websocket
from trio.testing import memory_stream_pair
from wsproto.events import CloseConnection

from tests.trio_websocket._peers import Peer, bare_client, client, serving
from wsnursery import WebSocket
from wsnursery.testing import virtual_backend
from wsnursery.trio_websocket._reader import shielded_nursery
from wsnursery.trio_websocket._scope import (
    connection_scope,
    is_secure,
    server_scope,
)


@pytest.fixture
def anyio_backend():
    return virtual_backend("trio")


async def test_scope_on_the_server() -> None:
    scopes: list[Any] = []

    async def look(ws: WebSocket) -> None:
        scopes.append(ws.scope)

    target = "/a%20b?c=%20"
    headers = [(b"X-Id", b"1")]
    async with serving(look, target=target, subprotocols=["a", "b"], extra_headers=headers):
        pass
    (scope,) = scopes
    assert scope["type"] == "websocket"
    assert (scope["path"], scope["raw_path"]) == ("/a b", b"/a%20b")
    assert (scope["query_string"], scope["scheme"]) == (b"c=%20", "ws")
    assert scope["subprotocols"] == ["a", "b"]
    assert (b"host", b"example.org") in scope["headers"]
    assert (b"x-id", b"1") in scope["headers"]
    assert (b"sec-websocket-protocol", b"a, b") in scope["headers"]
    assert scope["client"] is None  # a stream in memory comes from nowhere


async def test_scope_of_a_client() -> None:
    async with client(url="wss://example.org:8443/room?1", subprotocol="chat") as (ws, peer):
        assert (ws.scope["scheme"], ws.scope["path"]) == ("wss", "/room")
        assert ws.scope["server"] == ("example.org", 8443)
        assert ws.subprotocols == ("chat",)
        await peer.send(CloseConnection(code=1000))
        assert [message async for message in ws] == []


async def test_scope_of_a_connection() -> None:
    ours, theirs = memory_stream_pair()
    async with shielded_nursery() as nursery:
        nursery.start_soon(lambda: Peer.server(theirs).accept(subprotocol="chat"))
        connection = await bare_client(nursery, ours, subprotocols=["chat", "other"])
        scope = connection_scope(connection)
    assert (scope["scheme"], scope["path"], scope["query_string"]) == ("ws", "/room", b"1")
    assert scope["subprotocols"] == ["chat"]
    assert scope["client"] is None


class FakeConnection:
    """As much of trio-websocket's connection as a scope is made of."""

    path = None
    subprotocol = None
    handshake_headers = ()
    local = trio_websocket.Endpoint("127.0.0.1", 80, is_ssl=True)
    remote = trio_websocket.Endpoint("127.0.0.2", 81, is_ssl=True)

    def __init__(self, *, is_client: bool) -> None:
        self.is_client = is_client


def test_addresses_of_a_connection() -> None:
    here, there = ("127.0.0.1", 80), ("127.0.0.2", 81)
    scope = connection_scope(FakeConnection(is_client=True))  # type: ignore[arg-type]
    assert (scope["client"], scope["server"], scope["scheme"]) == (here, there, "wss")
    scope = connection_scope(FakeConnection(is_client=False))  # type: ignore[arg-type]
    assert (scope["client"], scope["server"], scope["path"]) == (there, here, "/")


class FakeRequest:
    """A handshake as trio-websocket gives it."""

    class _event:  # noqa: N801
        host = "example.org"

    headers = ()
    path = "/"
    proposed_subprotocols = ()


async def test_addresses_of_a_socket() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    there = listeners[0].socket.getsockname()
    stream = await trio.open_tcp_stream(*there)
    async with listeners[0], stream, await listeners[0].accept() as accepted:
        scope = server_scope(FakeRequest(), accepted)  # type: ignore[arg-type]
        assert scope["server"] == there
        assert scope["client"] == stream.socket.getsockname()
    scope = server_scope(FakeRequest(), accepted)  # type: ignore[arg-type]
    assert scope["client"] is None  # it has gone already


def test_addresses_under_tls() -> None:
    stream, _ = memory_stream_pair()
    secured = trio.SSLStream(stream, ssl.create_default_context(), server_hostname="example.org")
    assert is_secure(secured)
    scope = server_scope(FakeRequest(), secured)  # type: ignore[arg-type]
    assert (scope["scheme"], scope["server"]) == ("wss", None)
