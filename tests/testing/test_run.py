"""One run of an exploration, without the exploration."""

import anyio
import pytest

from wsnursery.testing import InjectedBug, InjectedError, Livelock, Run
from wsnursery.testing._plan import Action, CallFault, Plan
from wsnursery.testing._run import MAX_CALLS_IN_A_STEP, MAX_STEPS

ACCEPT = {"type": "websocket.accept"}
HELLO = {"type": "websocket.send", "text": "hello"}


async def accepted(run):
    server = run.server()
    await server.receive()
    await server.send(ACCEPT)
    return server


async def test_calls_are_counted():
    run = Run(Plan(), max_delay=0)
    server = await accepted(run)
    await run.server().receive()
    assert run.calls == [(1, 1), (0, 1)]
    assert run.servers[0] is server
    assert run.quiet
    assert not run.interfered


@pytest.mark.parametrize(("kind", "error"), [("oserror", InjectedError), ("error", InjectedBug)])
async def test_a_failing_send(kind, error):
    run = Run(Plan(fault=CallFault(kind, 2)), max_delay=0)
    server = await accepted(run)
    with pytest.raises(error) as caught:
        await server.send(HELLO)
    assert run.injected is caught.value
    assert run.interfered
    assert not run.quiet


async def test_a_failing_send_of_a_peer_that_is_gone():
    run = Run(Plan(fault=CallFault("gone", 2)), max_delay=0)
    server = await accepted(run)
    with pytest.raises(InjectedError):
        await server.send(HELLO)
    assert (await server.receive())["type"] == "websocket.disconnect"


async def test_a_stalled_send():
    run = Run(Plan(fault=CallFault("stall", 2)), max_delay=0)
    server = await accepted(run)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.send, HELLO)
        await anyio.sleep(1000)
        assert server.transcript.from_app == []
        server.peer.vanish()


async def test_failing_receives():
    run = Run(Plan(fault=CallFault("lost", 2)), max_delay=0)
    server = await accepted(run)
    assert (await server.receive())["type"] == "websocket.disconnect"
    run = Run(Plan(fault=CallFault("garbage", 2)), max_delay=0)
    server = await accepted(run)
    assert (await server.receive())["type"] == "websocket.unknown"
    run = Run(Plan(fault=CallFault("raises", 2)), max_delay=0)
    server = await accepted(run)
    with pytest.raises(InjectedError):
        await server.receive()


async def test_a_fault_of_another_connection():
    run = Run(Plan(fault=CallFault("oserror", 1, index=1)), max_delay=0)
    await accepted(run)
    with pytest.raises(InjectedError):
        await accepted(run)


async def test_delays_are_asked_of_the_tape():
    run = Run(Plan(deviations={1: 2}), max_delay=2)
    await accepted(run)
    assert run.tape.options == [3, 3]


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (Action("vanish", 2), "peer vanish"),
        (Action("close", 2), "peer close 1000"),
        (Action("vanish", 2, index=7), "app accept"),
    ],
)
async def test_actions_on_a_connection(action, line):
    run = Run(Plan(action), max_delay=0)
    server = await accepted(run)
    run.on_step()
    async with run.target():
        for _ in range(3):
            run.on_step()
    run.on_step()
    assert server.transcript.lines[-1] == line
    assert run.interfered == (action.index == 0)
    assert (run.targets[0].first_step, run.targets[0].last_step) == (0, 3)


async def test_cancelling_a_target():
    run = Run(Plan(Action("cancel", 1)), max_delay=0)
    async with run.target() as target:
        run.on_step()
        await anyio.sleep_forever()
    assert target.cancelled_caught


async def test_cancelling_a_target_natively(anyio_backend_name):
    # trio has no native cancellation, so nothing happens.
    run = Run(Plan(Action("native", 1)), max_delay=0)
    async with run.target() as target:
        run.on_step()
        await anyio.sleep(1)
    assert target.cancelled_caught == (anyio_backend_name == "asyncio")


async def test_the_order_of_tasks_is_asked_for_while_a_target_is_open():
    run = Run(Plan(), max_delay=0)
    assert run.first(3) == 0
    async with run.target():
        assert run.first(3) == 0
    assert run.tape.options == [3]


async def test_far_too_many_steps():
    run = Run(Plan(), max_delay=0)
    with anyio.CancelScope() as run.guard:
        for _ in range(MAX_STEPS):
            run.on_step()
        await anyio.sleep(1)
    assert run.exhausted
    run.check()
    for _ in range(MAX_STEPS + 1):
        run.on_step()
    with pytest.raises(Livelock, match="did not end within"):
        run.check()


async def test_raw_calls_in_a_circle():
    run = Run(Plan(), max_delay=0)
    server = await accepted(run)
    server.peer.vanish()
    with pytest.raises(Livelock, match="no other task could run"):
        for _ in range(MAX_CALLS_IN_A_STEP):
            await server.send(HELLO)
