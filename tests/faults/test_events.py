"""Faults of the raw receive, of the disconnect and of the close."""

import logging

import anyio
import pytest

from tests.faults._opened import opened
from wsnursery import RemoteProtocolError, WebSocketDisconnected
from wsnursery.testing import (
    HYPERCORN_ASYNCIO,
    UVICORN_LEGACY,
    CloseAt,
    Delay,
    FailReceive,
    Garbage,
    Server,
    explore,
)
from wsnursery.testing import Run as ExplorationRun


async def open_and_receive_one(server, ws):
    """The raw receives up to here: the connect event, one message."""
    await ws.accept()
    await server.peer.send("first")
    assert await ws.receive() == "first"


# row: 21
async def test_disconnect_before_accept():
    server = Server()
    server.peer.vanish()
    with pytest.raises(WebSocketDisconnected):
        async with opened(server) as ws:
            await ws.accept()
    assert not server.peer.accepted


# row: 22
async def test_the_first_event_is_not_connect():
    server = Server(faults=[Garbage(1, {"type": "http.request"})])
    with pytest.raises(RemoteProtocolError, match=r"http\.request"):
        async with opened(server) as ws:
            await ws.accept()


# row: 23
async def test_an_unknown_event_is_ignored_and_logged_once(caplog):
    unknown = {"type": "websocket.ping"}
    server = Server(faults=[Garbage(2, unknown), Garbage(3, unknown)])
    with caplog.at_level(logging.WARNING):
        async with opened(server) as ws:
            await ws.accept()
            await server.peer.send("hello")
            assert await ws.receive() == "hello"
    assert caplog.text.count("websocket.ping") == 1


# row: 23
async def test_an_unknown_event_is_an_error_in_strict_mode():
    server = Server(faults=[Garbage(3, {"type": "websocket.ping"})])
    with pytest.raises(RemoteProtocolError, match=r"websocket\.ping"):
        async with opened(server, strict=True) as ws:
            await open_and_receive_one(server, ws)
            await ws.receive()
    assert server.transcript.app_close == (1011, "")


# row: 24
@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"text": "a", "bytes": None}, "a"),
        ({"text": None, "bytes": b"a"}, b"a"),
        ({"text": "", "bytes": None}, ""),
        ({"bytes": b""}, b""),
        ({"text": "a", "bytes": b"b"}, "a"),
    ],
)
async def test_message_events_of_every_form(payload, message):
    server = Server(faults=[Garbage(3, {"type": "websocket.receive", **payload})])
    async with opened(server) as ws:
        await open_and_receive_one(server, ws)
        assert await ws.receive() == message


# row: 24
@pytest.mark.parametrize("payload", [{}, {"text": None}, {"text": None, "bytes": None}])
async def test_a_message_event_without_a_message(payload):
    server = Server(faults=[Garbage(3, {"type": "websocket.receive", **payload})])
    with pytest.raises(RemoteProtocolError, match="neither 'text' nor 'bytes'"):
        async with opened(server) as ws:
            await open_and_receive_one(server, ws)
            await ws.receive()


# row: 25
async def test_receive_raises():
    error = OSError("gone")
    server = Server(faults=[FailReceive(2, error)])
    with pytest.raises(WebSocketDisconnected) as caught:
        async with opened(server) as ws:
            await ws.accept()
            await ws.receive()
    assert caught.value.__cause__ is error
    assert server.transcript.app_close is None


# row: 25
@pytest.mark.parametrize("strict", [False, True])
async def test_receive_raises_a_bug(strict):
    error = RuntimeError("a bug of the server")
    server = Server(faults=[FailReceive(3, error)])
    with pytest.raises(RuntimeError) as caught:
        async with opened(server, strict=strict) as ws:
            await open_and_receive_one(server, ws)
            await ws.receive()
    assert caught.value is error
    assert server.transcript.app_close == (1011, "")


# row: 26
async def test_a_repeated_disconnect_and_what_the_server_still_has():
    server = Server(personality=UVICORN_LEGACY)
    async with opened(server) as ws:
        await ws.accept()
        server.peer.close(4001, "bye")
        assert [message async for message in ws] == []
    assert (ws.close_code, ws.close_reason) == (4001, "bye")
    disconnects = [line for line in server.transcript.lines if line.startswith("app disconnect")]
    assert len(disconnects) <= 2


# row: 27
async def test_leaving_is_bounded_when_the_end_is_never_reported():
    server = Server(personality=HYPERCORN_ASYNCIO, answers_close=False)
    start = anyio.current_time()
    async with opened(server, close_timeout=3) as ws:
        await ws.accept()
    assert anyio.current_time() - start < 5
    assert server.transcript.app_close == (1000, "")


# row: 28
async def test_idle_timeout_ends_what_the_server_never_ends():
    server = Server()
    start = anyio.current_time()
    with pytest.raises(WebSocketDisconnected) as caught:
        async with opened(server, idle_timeout=3600) as ws:
            await ws.accept()
            await ws.receive()
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert server.transcript.app_close is not None
    assert server.transcript.app_close[0] == 1001
    assert 3600 <= anyio.current_time() - start < 3610


# row: 29
@pytest.mark.parametrize(
    ("event", "code", "reason"),
    [
        ({}, None, ""),
        ({"code": None}, None, ""),
        ({"code": 1005}, 1005, ""),
        ({"code": 4001, "reason": "bye"}, 4001, "bye"),
        ({"code": 4001, "reason": None}, 4001, ""),
    ],
)
async def test_disconnect_events_of_every_form(event, code, reason):
    server = Server(faults=[Garbage(2, {"type": "websocket.disconnect", **event})])
    with pytest.raises(WebSocketDisconnected) as caught:
        async with opened(server) as ws:
            await ws.accept()
            await ws.receive()
    assert (caught.value.code, caught.value.reason) == (code, reason)


# row: 30
async def test_close_from_two_tasks_and_twice():
    server = Server(faults=[Delay(2)])
    async with opened(server) as ws:
        await ws.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ws.close, 4000, "first")
            tasks.start_soon(ws.close, 4000, "first")
        await ws.close(4002, "late")
    closes = [line for line in server.transcript.lines if line.startswith("app close")]
    assert closes == ["app close 4000 first"]


# row: 30
async def test_close_while_a_send_waits():
    server = Server(send_queue=1)
    async with anyio.create_task_group() as tasks, opened(server) as ws:
        await ws.accept()
        await ws.send("a")
        tasks.start_soon(ws.send, "b")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(server.peer.receive)
        await ws.close()
    assert server.transcript.from_app == ["a", "b"]
    assert server.transcript.app_close == (1000, "")


# row: 30
async def test_close_after_the_disconnect():
    server = Server()
    async with opened(server) as ws:
        await ws.accept()
        server.peer.close(4001)
        assert [message async for message in ws] == []
        await ws.close()
    assert server.transcript.app_close is None


# row: 31
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_inside_close_at_every_step(backend):
    async def scenario(run: ExplorationRun):
        server = run.server(faults=[Delay(2)])
        async with opened(server) as ws:
            await ws.accept()
            async with run.target():
                await ws.close(4000, "enough")
        closes = [line for line in server.transcript.lines if line.startswith("app close")]
        assert len(closes) == 1

    explore(scenario, backends=[backend], actions=["cancel", "native"], faults=[])


# row: 38
async def test_a_disconnect_behind_a_full_buffer_is_noticed():
    server = Server(receive_queue=100)
    with pytest.raises(WebSocketDisconnected) as caught:
        async with opened(server, receive_buffer=2, grace_period=5) as ws:
            await ws.accept()
            for message in "ab":
                await server.peer.send(message)
            server.peer.close(4001)
            await anyio.sleep_forever()
    assert caught.value.code == 4001


# row: 38
async def test_a_close_by_the_peer_at_any_call_is_noticed():
    for number in range(1, 10):
        server = Server(faults=[CloseAt(number, 4001)])
        with pytest.raises(WebSocketDisconnected) as caught:
            async with opened(server) as ws:
                await ws.accept()
                while True:
                    await ws.send("x")
        assert caught.value.code == 4001
