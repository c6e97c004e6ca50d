"""`connect`, `serve` and `from_connection` over the loopback interface."""

import runpy
import ssl
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio_websocket

from wsnursery import Options, WebSocket, WebSocketDisconnected
from wsnursery import trio_websocket as ours
from wsnursery.trio_websocket import HandshakeRejected, Listening, connect, from_connection, serve


@pytest.fixture
def anyio_backend():
    """Real sockets, real time; nothing sleeps."""
    return "trio", {}


async def echo(ws: WebSocket) -> None:
    await ws.accept(next(iter(ws.subprotocols), None), headers=[(b"x-path", ws.scope["raw_path"])])
    async for message in ws:
        await ws.send(message)


@asynccontextmanager
async def serving(handler: Any = echo, **arguments: Any) -> AsyncGenerator[Listening]:
    """A server for the time of the block."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve, handler, "127.0.0.1", 0, **arguments))
        nursery.cancel_scope.cancel()


async def test_both_ends():
    async with serving() as server:
        url = f"ws://127.0.0.1:{server.port}/a/b?c"
        async with connect(url, subprotocols=["x", "y"], headers=[(b"x-id", b"1")]) as ws:
            assert (ws.state, ws.subprotocol) == ("open", "x")
            assert dict(ws.headers)[b"x-path"] == b"/a/b"
            for message in ("hello", b"\x00" * 1_000_00, ""):
                await ws.send(message)
                assert await ws.receive() == message
            await ws.close(4001, "\N{WAVING HAND SIGN}")
    assert (ws.close_code, ws.close_reason) == (4001, "\N{WAVING HAND SIGN}")


async def test_options_that_are_a_dictionary():
    options: Any = {"grace_period": 1}
    any_connection: Any = None
    with pytest.raises(TypeError, match="must be an Options object, got dict"):
        connect("ws://127.0.0.1:1", options=options)
    with pytest.raises(TypeError, match="must be an Options object, got dict"):
        from_connection(any_connection, options=options)
    with pytest.raises(TypeError, match="must be an Options object, got dict"):
        await serve(echo, "127.0.0.1", 0, options=options)


async def test_addresses():
    scopes: list[Any] = []

    async def look(ws: WebSocket) -> None:
        scopes.append(ws.scope)
        await echo(ws)

    async with serving(look) as server, connect(f"ws://127.0.0.1:{server.port}") as ws:
        scopes.append(ws.scope)
    on_server, on_client = scopes
    assert on_server["client"] == on_client["client"]
    assert on_server["server"] == on_client["server"] == ("127.0.0.1", server.port)


# contract: X5
async def test_server_that_stops():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, echo, "127.0.0.1", 0))
        async with connect(f"ws://127.0.0.1:{server.port}") as ws:
            await ws.send("last")
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                assert [message async for message in ws] == ["last"]
            assert ws.close_code == 1001


async def test_server_that_is_cancelled_at_once():
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve, echo, "127.0.0.1", 0))
        nursery.cancel_scope.cancel()
    listeners = await trio.open_tcp_listeners(server.port, host="127.0.0.1")  # it is free again
    await listeners[0].aclose()


async def test_rejected():
    async def turn_away(ws: WebSocket) -> None:
        await ws.reject(429, [(b"retry-after", b"1")], b"slow down")

    async with serving(turn_away) as server:
        with pytest.raises(HandshakeRejected) as caught:
            async with connect(f"ws://127.0.0.1:{server.port}"):
                raise AssertionError("the body must not run")
    assert (caught.value.status, caught.value.body) == (429, b"slow down")
    assert dict(caught.value.headers)[b"retry-after"] == b"1"


async def test_no_server_listens():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    with pytest.raises(OSError, match=f"127.0.0.1.*{port}"):
        async with connect(f"ws://127.0.0.1:{port}"):
            raise AssertionError("the body must not run")


async def test_port_that_is_taken():
    async with serving() as server:
        with pytest.raises(OSError, match="in use"):
            await serve(echo, "127.0.0.1", server.port)


# contract: D1
async def test_reset():
    """The `ConnectionResetError` of the socket is the cause, although the reader got it."""

    async def reset(ws: WebSocket) -> None:
        await ws.accept()
        socket = ws._transport._stream._stream.socket  # type: ignore[attr-defined]
        socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        socket.close()

    async with serving(reset) as server:
        with pytest.raises(WebSocketDisconnected) as caught:
            async with connect(f"ws://127.0.0.1:{server.port}") as ws:
                await ws.receive()
    assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_from_connection_as_client():
    async with serving() as server:
        url = f"ws://127.0.0.1:{server.port}/"
        async with trio_websocket.open_websocket_url(url) as connection:
            async with from_connection(connection, Options(grace_period=1)) as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
            assert connection.closed is not None
    assert ws.close_code == 1000


async def test_from_connection_as_server():
    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        connection = await request.accept()
        async with from_connection(connection) as ws:
            async for message in ws:
                await ws.send(message)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
        async with connect(f"ws://127.0.0.1:{server.port}") as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            await ws.close(4001)
        nursery.cancel_scope.cancel()


# ---------------------------------------------------------------------------------------------- TLS


async def test_tls(tls: tuple[ssl.SSLContext, ssl.SSLContext]):
    server_side, client_side = tls
    async with serving(ssl_context=server_side) as server:
        url = f"wss://localhost:{server.port}/"
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(url):
                raise AssertionError("the body must not run")
        async with connect(url, ssl_context=client_side) as ws:
            await ws.send("secret")
            assert await ws.receive() == "secret"
            assert ws.scope["scheme"] == "wss"


@pytest.fixture
def tls(tmp_path: Any) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context around a certificate of our own making."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_side)
    client_side = ssl.create_default_context()
    authority.configure_trust(client_side)
    return server_side, client_side


# ------------------------------------------------------------------------------------- misuse


def test_public_names():
    assert {getattr(ours, name).__module__ for name in ours.__all__} == {ours.__name__}


async def test_tls_context_without_tls():
    with pytest.raises(ValueError, match="write wss://, or leave ssl_context out"):
        connect("ws://example.org", ssl_context=ssl.create_default_context())


async def test_misuse_is_refused_at_the_call():
    with pytest.raises(ValueError, match="is not a WebSocket URL"):
        connect("http://example.org")
    with pytest.raises(TypeError, match="a header must be a pair of bytes"):
        connect("ws://example.org", headers=[("a", "b")])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="subprotocols must be a list"):
        connect("ws://example.org", subprotocols="chat")


def test_not_on_trio():
    with pytest.raises(RuntimeError, match=r"connect\(\) must be called in a trio task"):
        connect("ws://example.org")
    with pytest.raises(RuntimeError, match="runs on trio alone"):
        from_connection(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_on_asyncio():
    with pytest.raises(RuntimeError, match="runs on trio alone: use trio"):
        connect("ws://example.org")
    with pytest.raises(RuntimeError, match=r"serve\(\) must be called in a trio task"):
        await serve(echo, "127.0.0.1", 0)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "trio_websocket", None)
    with pytest.raises(ImportError, match=r"pip install 'wsnursery\[trio-websocket\]'"):
        runpy.run_path(ours.__file__)
