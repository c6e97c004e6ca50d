"""Cancellations, and errors that coincide."""

import anyio
import pytest

from tests.faults._opened import opened
from wsnursery import WebSocketDisconnected
from wsnursery.testing import (
    Delay,
    FailSend,
    Server,
    StallSend,
    conversation,
    explore,
)
from wsnursery.testing import Run as ExplorationRun


# row: 12
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_inside_a_send_at_every_step(backend):
    async def scenario(run: ExplorationRun):
        server = run.server(faults=[Delay(2)])
        left = None
        async with run.target() as target:
            try:
                async with opened(server) as ws:
                    await ws.accept()
                    await ws.send("hello")
            except anyio.get_cancelled_exc_class() as cancelled:
                left = cancelled
                raise
        assert (left is not None) == target.cancelled_caught
        closes = [line for line in server.transcript.lines if line.startswith("app close")]
        denials = [line for line in server.transcript.lines if line.startswith("app deny")]
        assert len(closes) + len(denials) == 1

    report = explore(scenario, backends=[backend], actions=["cancel", "native"], faults=[])
    assert report.runs > 20


# row: 13
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_inside_a_receive_at_every_step(backend):
    async def scenario(run: ExplorationRun):
        server = run.server()
        got = []
        async with opened(server) as ws:
            await ws.accept()
            await server.peer.send("a")
            async with run.target():
                got.append(await ws.receive())
            if not got:
                got.append(await ws.receive())
        assert got == ["a"]

    explore(scenario, backends=[backend], actions=["cancel", "native"], faults=[])


# row: 14
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_around_a_send_at_every_step(backend):
    async def scenario(run: ExplorationRun):
        server = run.server(faults=[Delay(2)])
        async with opened(server) as ws:
            await ws.accept()
            async with run.target():
                await ws.send("a")
            await ws.send("b")
        assert server.transcript.from_app in (["a", "b"], ["b"])
        assert server.transcript.app_close == (1000, "")

    explore(scenario, backends=[backend], actions=["cancel", "native"], faults=[])


# row: 15
@pytest.mark.parametrize("cancel_first", [True, False])
async def test_outer_cancel_and_oserror_in_the_same_tick(cancel_first):
    go_on = anyio.Event()
    cause = None
    server = Server(faults=[StallSend(2, go_on), FailSend(2, OSError("gone"))])
    with anyio.CancelScope() as scope:
        try:
            async with opened(server) as ws:
                await ws.accept()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ws.send, "hello")
                    await anyio.wait_all_tasks_blocked()
                    if cancel_first:
                        scope.cancel()
                        go_on.set()
                    else:
                        go_on.set()
                        scope.cancel()
        except WebSocketDisconnected as own:
            cause = own.__cause__
    assert scope.cancelled_caught or isinstance(cause, OSError)


# row: 16
@pytest.mark.parametrize("cancel_first", [True, False])
async def test_outer_cancel_and_disconnect_in_the_same_tick(cancel_first):
    server = Server()
    with anyio.CancelScope() as scope:
        try:
            async with opened(server) as ws:
                await ws.accept()
                ws.start_soon(ws.receive)
                await anyio.wait_all_tasks_blocked()
                if cancel_first:
                    scope.cancel()
                    server.peer.vanish()
                else:
                    server.peer.vanish()
                    scope.cancel()
                await anyio.sleep_forever()
        except WebSocketDisconnected:
            return
    assert scope.cancelled_caught


# row: 17
async def test_the_bodys_error_beats_the_disconnect_of_a_child():
    error = ValueError("mine")
    server = Server(faults=[FailSend(2, OSError("gone"))])
    with pytest.raises(ValueError, match="mine") as caught:
        async with opened(server) as ws:
            await ws.accept()
            ws.start_soon(ws.send, "hello")
            try:
                await anyio.sleep_forever()
            finally:
                raise error
    assert caught.value is error
    assert "disconnected" in " ".join(error.__notes__) or "ended" in " ".join(error.__notes__)


# row: 18
async def test_two_children_fail():
    async def child(error):
        raise error

    first, second = ValueError("1"), KeyError("2")
    server = Server()
    with pytest.raises(ExceptionGroup) as caught:
        async with opened(server) as ws:
            await ws.accept()
            ws.start_soon(child, first)
            ws.start_soon(child, second)
            await anyio.sleep_forever()
    assert set(caught.value.exceptions) == {first, second}
    assert server.transcript.app_close == (1011, "")


# row: 19
async def test_the_body_returns_while_children_send():
    async def sender(ws):
        for number in range(3):
            await ws.send(str(number))
            await anyio.sleep(1)

    server = Server()
    async with opened(server) as ws:
        await ws.accept()
        ws.start_soon(sender, ws)
    # The block waits for its children while the connection is open, and closes after them.
    assert server.transcript.from_app == ["0", "1", "2"]
    assert server.transcript.app_close == (1000, "")


# row: 19
async def test_the_body_returns_after_its_close_while_children_send():
    async def sender(ws):
        while True:
            await ws.send("x")
            await anyio.sleep(1)

    server = Server()
    async with opened(server) as ws:
        await ws.accept()
        ws.start_soon(sender, ws)
        await anyio.sleep(1.5)
        ws.cancel_scope.cancel()
    assert server.transcript.from_app == ["x", "x"]


# row: 20
async def test_the_body_raises():
    error = ValueError("mine")
    server = Server()
    with pytest.raises(ValueError, match="mine") as caught:
        async with opened(server) as ws:
            await ws.accept()
            raise error
    assert caught.value is error
    assert server.transcript.app_close == (1011, "")


# row: 20
async def test_the_body_raises_and_the_farewell_hangs():
    server = Server(faults=[StallSend(2)])
    start = anyio.current_time()
    with pytest.raises(ValueError, match="mine"):
        async with opened(server, close_timeout=3) as ws:
            await ws.accept()
            raise ValueError("mine")
    assert anyio.current_time() - start < 5


# row: 12
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_whole_application_cancelled_at_every_step(backend):
    async def app(scope, receive, send):
        from wsnursery import open_websocket

        async with open_websocket(scope, receive, send) as ws:
            await ws.accept()
            async for message in ws:
                await ws.send(message)

    async def talk(client):
        await client.send("a")
        assert await client.receive() == "a"

    report = explore(
        conversation(app, talk, may_raise=(WebSocketDisconnected,)), backends=[backend]
    )
    assert report.runs > 100
