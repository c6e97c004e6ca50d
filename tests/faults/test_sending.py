"""Faults of the raw send. Each test names its row of the list of fault scenarios."""

import logging

import anyio
import pytest

from tests.faults._opened import opened
from wsnursery import WebSocketDisconnected
from wsnursery.testing import (
    BASIC,
    HYPERCORN_TRIO,
    SERVERS,
    ConnectionEnded,
    FailSend,
    Server,
    StallSend,
    no_leaks,
)
from wsnursery.testing._personalities import client_disconnected, unexpected_message


async def accept_and_send(server, messages=3, **options):
    async with opened(server, **options) as ws:
        await ws.accept()
        for number in range(messages):
            await ws.send(str(number))


# row: 1
@pytest.mark.parametrize("call", [1, 2, 4])
async def test_oserror_from_the_kth_send(call):
    error = OSError("gone")
    server = Server(faults=[FailSend(call, error)])
    with pytest.raises(WebSocketDisconnected) as caught:
        async with no_leaks():
            await accept_and_send(server)
    assert caught.value.__cause__ is error
    assert caught.value.code is None
    assert server.transcript.app_close is None


# row: 1
async def test_oserror_from_the_close_is_swallowed():
    await accept_and_send(Server(faults=[FailSend(5, OSError("gone"))]))


# row: 2
@pytest.mark.parametrize(
    "error", [BrokenPipeError(), ConnectionResetError(), client_disconnected("websocket.send")]
)
async def test_subclasses_of_oserror_stay_what_they_are(error):
    with pytest.raises(WebSocketDisconnected) as caught:
        await accept_and_send(Server(faults=[FailSend(2, error)]))
    assert caught.value.__cause__ is error


# row: 3
@pytest.mark.parametrize("vanish", [True, False])
async def test_runtimeerror_of_a_server_whose_peer_is_gone(vanish):
    error = unexpected_message("websocket.send")
    with pytest.raises(WebSocketDisconnected) as caught:
        await accept_and_send(Server(faults=[FailSend(2, error, vanish=vanish)]))
    assert caught.value.__cause__ is error


# row: 3
async def test_runtimeerror_of_a_server_whose_peer_is_gone_in_strict_mode():
    error = unexpected_message("websocket.send")
    with pytest.raises(RuntimeError) as caught:
        await accept_and_send(Server(faults=[FailSend(2, error)]), strict=True)
    assert caught.value is error


# row: 4
async def test_runtimeerror_of_a_healthy_connection_leaves_as_itself():
    error = RuntimeError("who knows")
    server = Server(faults=[FailSend(2, error)])
    with pytest.raises(RuntimeError) as caught:
        await accept_and_send(server)
    assert caught.value is error
    assert server.transcript.app_close == (1011, "")


# row: 5
@pytest.mark.parametrize("error", [ValueError("bad"), TypeError("bad")])
async def test_an_error_about_the_message_is_the_callers_and_the_connection_goes_on(error):
    server = Server(faults=[FailSend(2, error)])
    async with opened(server) as ws:
        await ws.accept()
        with pytest.raises(type(error)) as caught:
            await ws.send("bad")
        assert caught.value is error
        await ws.send("good")
    assert server.transcript.from_app == ["good"]
    assert server.transcript.app_close == (1000, "")


# row: 6
async def test_silent_sends_end_with_the_disconnect_event():
    server = Server(personality=HYPERCORN_TRIO)
    with pytest.raises(WebSocketDisconnected) as caught:
        async with opened(server) as ws:
            await ws.accept()
            server.peer.vanish()
            for _ in range(100):
                await ws.send("to nobody")
    assert caught.value.code == 1006
    assert caught.value.__cause__ is None
    late = [line for line in server.transcript.lines if line.startswith("app late")]
    assert len(late) <= 2


# row: 7
async def test_a_send_that_hangs_is_given_up_after_send_timeout():
    server = Server(faults=[StallSend(2)])
    start = anyio.current_time()
    with pytest.raises(WebSocketDisconnected) as caught:
        await accept_and_send(server, send_timeout=10)
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert 10 <= anyio.current_time() - start < 16


# row: 7
async def test_without_send_timeout_a_hanging_send_is_backpressure():
    go_on = anyio.Event()
    server = Server(faults=[StallSend(2, until=go_on)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(accept_and_send, server)
        await anyio.sleep(20)
        go_on.set()
    assert server.transcript.from_app == ["0", "1", "2"]


# row: 8
async def test_a_hanging_send_that_is_shielded_frees_the_body_and_is_logged(caplog):
    go_on = anyio.Event()
    server = Server(personality=HYPERCORN_TRIO, faults=[StallSend(2, go_on, shielded=True)])
    unwound_after = None

    async def handler():
        nonlocal unwound_after
        with pytest.raises(WebSocketDisconnected, match="ended") as caught:
            async with opened(server, send_timeout=10) as ws:
                await ws.accept()
                try:
                    await ws.send("stuck")
                finally:
                    unwound_after = anyio.current_time() - start
        assert isinstance(caught.value.__cause__, TimeoutError)

    start = anyio.current_time()
    with caplog.at_level(logging.WARNING):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(handler)
            await anyio.sleep(60)
            go_on.set()
    assert unwound_after == 10
    assert "is stuck and cannot be cancelled" in caplog.text


# row: 9
async def test_a_send_that_waits_for_the_receive_queue_is_no_deadlock():
    server = Server(personality=HYPERCORN_TRIO, receive_queue=2)
    async with opened(server, receive_buffer=2) as ws:
        await ws.accept()
        for number in range(5):
            await server.peer.send(str(number))
        server.peer.vanish()
        # The server takes this when there is room for the disconnect in its queue.
        with anyio.fail_after(1):
            await ws.send("x")
        assert [message async for message in ws] == ["0", "1", "2", "3", "4"]
    assert ws.close_code == 1006


# row: 10
@pytest.mark.parametrize("tasks", [2, 100])
async def test_many_senders_and_the_first_fails(tasks):
    # row: 11
    error = OSError("gone")
    server = Server(faults=[FailSend(2, error)])
    raised = []

    async def sender(ws, number):
        try:
            await ws.send(str(number))
        except WebSocketDisconnected as own:
            raised.append(own)
            raise

    with pytest.raises(WebSocketDisconnected) as caught:
        async with opened(server) as ws:
            await ws.accept()
            for number in range(tasks):
                ws.start_soon(sender, ws, number)
            await anyio.sleep_forever()
    assert caught.value.__cause__ is error
    assert len(raised) == tasks
    assert len(set(map(id, raised))) == tasks, "each caller has its own instance"
    assert {id(own.__cause__) for own in raised} == {id(error)}
    assert server.transcript.from_app == []


# row: 6
@pytest.mark.parametrize("personality", BASIC + SERVERS, ids=lambda rules: rules.name)
async def test_the_outcome_does_not_depend_on_the_server(personality):
    server = Server(personality=personality)
    with pytest.raises(WebSocketDisconnected):
        async with opened(server) as ws:
            await ws.accept()
            await server.peer.send("hello")
            assert await ws.receive() == "hello"
            server.peer.vanish()
            while True:
                await ws.send("to nobody")
    with pytest.raises(ConnectionEnded):
        await server.peer.receive()
    assert server.transcript.violations == []
