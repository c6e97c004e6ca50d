"""Wrong arguments of the application, which are refused before anything is sent."""

import gc
import weakref
from typing import Any

import anyio
import pytest

from tests.faults._opened import opened
from wsnursery import LocalProtocolError, WebSocketDisconnected
from wsnursery.testing import FailSend, Server, no_leaks


# row: 32
@pytest.mark.parametrize(
    "code", [0, -1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 70000, "x", None, 1000.5]
)
async def test_close_codes_that_may_not_be_sent(code):
    server = Server()
    async with opened(server) as ws:
        await ws.accept()
        with pytest.raises((LocalProtocolError, TypeError)):
            await ws.close(code)
        await ws.send("still open")
    assert server.transcript.from_app == ["still open"]
    assert server.transcript.app_close == (1000, "")


# row: 33
@pytest.mark.parametrize("reason", ["x" * 123, "é" * 61])
async def test_reasons_that_fit(reason):
    server = Server()
    async with opened(server) as ws:
        await ws.accept()
        await ws.close(1000, reason)
    assert server.transcript.app_close == (1000, reason)


# row: 33
@pytest.mark.parametrize("reason", ["x" * 124, "é" * 62, "\ud800", b"bytes"])
async def test_reasons_that_do_not_fit(reason):
    server = Server()
    async with opened(server) as ws:
        await ws.accept()
        with pytest.raises((LocalProtocolError, TypeError, ValueError)):
            await ws.close(1000, reason)
    assert server.transcript.app_close == (1000, "")


# row: 34
@pytest.mark.parametrize("subprotocol", ["other", "", "chat\r\nx: y"])
async def test_subprotocols_that_were_not_offered(subprotocol):
    server = Server(subprotocols=["chat"])
    async with opened(server) as ws:
        with pytest.raises(ValueError, match="subprotocol"):
            await ws.accept(subprotocol)
        await ws.accept("chat")
    assert server.peer.subprotocol == "chat"


# row: 35
@pytest.mark.parametrize(
    "header",
    [
        (b"x-a", b"b\r\nx: y"),
        (b"x-a", b"b\0"),
        (b"x\r\na", b"b"),
        (b"", b"b"),
        (b":x", b"b"),
        (b"sec-websocket-protocol", b"chat"),
        ("x-a", b"b"),
        (b"x-a", "b"),
    ],
)
async def test_headers_that_may_not_be_sent(header):
    server = Server()
    async with opened(server) as ws:
        with pytest.raises((ValueError, TypeError)):
            await ws.accept(headers=[header])
        await ws.accept(headers=[(b"x-good", b"yes")])
    assert server.peer.response_headers == [(b"x-good", b"yes")]


# row: 36
@pytest.mark.parametrize("error", [OSError("gone"), ValueError("who knows")])
async def test_accept_raises_in_the_server(error):
    server = Server(faults=[FailSend(1, error)])
    with pytest.raises((WebSocketDisconnected, ValueError)) as caught:
        async with opened(server) as ws:
            await ws.accept()
    if isinstance(error, OSError):
        assert caught.value.__cause__ is error
    else:
        assert caught.value is error
        # Hypercorn's trio worker crashes if a handshake stays half-answered.
        assert "app deny 403" in server.transcript.lines


# row: 37
async def test_payloads():
    server = Server()
    async with opened(server) as ws:
        await ws.accept()
        with pytest.raises(ValueError, match="surrogate"):
            await ws.send("\ud800")
        wrong: Any
        for wrong in (1, None, ["a"]):
            with pytest.raises(TypeError):
                await ws.send(wrong)
        for good in (bytearray(b"a"), memoryview(b"b"), b"", ""):
            await ws.send(good)
    assert server.transcript.from_app == [b"a", b"b", b"", ""]


# row: 39
@pytest.mark.parametrize(
    ("message", "options"),
    [("x", {"receive_buffer": 8}), ("x" * 1000, {"receive_buffer_bytes": 8000})],
)
async def test_memory_is_bounded(message, options):
    server = Server(receive_queue=4, timeout=5)
    async with anyio.create_task_group() as tasks:
        async with opened(server, **options) as ws:
            await ws.accept()
            sent = 0

            async def flood():
                nonlocal sent
                while True:
                    await server.peer.send(message)
                    sent += 1

            with anyio.move_on_after(1):
                await flood()
            assert ws.statistics().receive_buffer_used <= 8
            # The buffer, the one in hand, and the server's own queue.
            assert sent <= 8 + 1 + 4
        tasks.cancel_scope.cancel()


# row: 40
async def test_use_after_the_end():
    server = Server()
    async with opened(server) as ws:
        await ws.accept()
        server.peer.vanish()
        with pytest.raises(WebSocketDisconnected):
            await ws.receive()
        with pytest.raises(WebSocketDisconnected):
            await ws.send("x")
        with pytest.raises(WebSocketDisconnected):
            ws.send_nowait("x")
    with pytest.raises(anyio.ClosedResourceError):
        await ws.send("x")
    for use in (ws.receive, ws.flush, ws.close, ws.accept):
        with pytest.raises(anyio.ClosedResourceError):
            await use()
    with pytest.raises(anyio.ClosedResourceError):
        ws.start_soon(anyio.sleep, 1)


# row: 41
@pytest.mark.parametrize("fail", [True, False])
async def test_nothing_keeps_the_handler_alive(fail):
    class Something:
        pass

    async def handler(server):
        something = Something()
        references.append(weakref.ref(something))
        async with opened(server) as ws:
            await ws.accept()
            if fail:
                server.peer.vanish()
            else:
                server.peer.close()
            while True:
                await ws.receive()

    references: list[weakref.ref[Something]] = []
    gc.collect()
    gc.disable()
    try:
        async with no_leaks():
            with pytest.raises(WebSocketDisconnected):
                await handler(Server())
        assert references[0]() is None
    finally:
        gc.enable()
