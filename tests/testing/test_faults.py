"""Each fault does what it says, at the call it says."""

import anyio
import pytest

from tests.testing.test_asgi import HELLO, accepted
from wsnursery import testing
from wsnursery.testing import Server


@pytest.mark.parametrize("error", [OSError("no"), OSError, lambda: OSError("made")])
async def test_failing_sends(error):
    server = await accepted()
    with server.inject(testing.FailSend(2, error)):
        await server.send(HELLO)
        with pytest.raises(OSError):  # noqa: PT011 - the class has no text
            await server.send(HELLO)
    await server.send(HELLO)
    assert server.transcript.from_app == ["hello", "hello"]


async def test_a_failing_send_with_the_peer_gone():
    server = await accepted()
    with server.inject(testing.FailSend(1, OSError("no"), vanish=True)), pytest.raises(OSError):  # noqa: PT011
        await server.send(HELLO)
    assert (await server.receive())["type"] == "websocket.disconnect"


@pytest.mark.parametrize("shielded", [True, False])
async def test_stalled_sends(shielded):
    until = anyio.Event()
    server = await accepted()
    with server.inject(testing.StallSend(2, until, shielded)):
        await server.send(HELLO)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.send, HELLO)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
            await anyio.wait_all_tasks_blocked() if not shielded else None
            until.set()
    assert len(server.transcript.from_app) == (2 if shielded else 1)


async def test_a_send_stalled_for_ever():
    server = await accepted()
    with server.inject(testing.StallSend(1)), anyio.move_on_after(1000) as scope:
        await server.send(HELLO)
    assert scope.cancelled_caught


async def test_faults_of_receive():
    server = await accepted()
    with server.inject(testing.FailReceive(2, OSError("no")), testing.Garbage(3, {"type": "x"})):
        await server.peer.send("a")
        await server.receive()
        with pytest.raises(OSError, match="no"):
            await server.receive()
        assert await server.receive() == {"type": "x"}


async def test_delays():
    steps = 0

    async def count():
        nonlocal steps
        while True:
            steps += 1
            await anyio.lowlevel.checkpoint()

    server = Server(faults=[testing.Delay(10)])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        await server.receive()
        await server.send({"type": "websocket.accept"})
        assert 15 < steps < 25
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("fault", "code"), [(testing.VanishAt(3), 1006), (testing.CloseAt(3, 4001, "bye"), 4001)]
)
async def test_the_peer_goes_away_at_a_call(fault, code):
    server = Server(faults=[fault])
    await server.receive()
    await server.send({"type": "websocket.accept"})
    assert (await server.receive())["code"] == code


async def test_the_base_does_nothing():
    server = Server(faults=[testing.Fault()])
    await server.receive()
    await server.send({"type": "websocket.accept"})
