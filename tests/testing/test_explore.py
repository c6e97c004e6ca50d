"""The exploration itself."""

from contextlib import suppress

import anyio
import pytest

from wsnursery import Options, testing, timeline, websocket_app


async def scenario(run):
    server = run.server()
    with suppress(testing.InjectedError):
        async with run.target():
            await anyio.lowlevel.checkpoint()
            await server.receive()
            await server.send({"type": "websocket.accept"})
            await anyio.lowlevel.checkpoint()


async def with_two_tasks(run):
    async def child():
        await anyio.lowlevel.checkpoint()

    async with run.target(), anyio.create_task_group() as tasks:
        tasks.start_soon(child)
        tasks.start_soon(child)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_point_once(backend):
    report = testing.explore(scenario, backends=[backend])
    assert report.runs >= 9
    assert len(report.outcomes) > 3


def test_the_backends_that_are_installed():
    both = testing.explore(scenario, faults=[], limit=5)
    assert both.runs == 10


def test_pairs_multiply():
    alone = testing.explore(
        scenario, backends=["trio"], faults=["gone"], pairs=False, keep_going=True
    )
    pairs = testing.explore(scenario, backends=["trio"], faults=["gone"], keep_going=True)
    assert pairs.runs > alone.runs


def test_the_next_bound_has_more_outcomes():
    runs = [
        testing.explore(with_two_tasks, backends=["trio"], actions=[], faults=[], bound=bound).runs
        for bound in range(3)
    ]
    assert runs[0] == 1 < runs[1] < runs[2]


def test_delays_on_asyncio():
    report = testing.explore(
        scenario, backends=["asyncio"], actions=[], faults=[], bound=2, max_delay=2
    )
    assert report.runs == 1 + 4 + 4


def test_a_failure_can_be_seen_again():
    async def fails(run):
        await scenario(run)
        assert not run.interfered

    with pytest.raises(testing.ExplorationFailed) as first:
        testing.explore(fails, backends=["trio"])
    failure = first.value.failure
    assert isinstance(first.value.__cause__, BaseException)
    assert failure.run == 2
    assert f"replay={failure.seed!r}" in str(failure)
    assert "app connect" in str(failure)
    with pytest.raises(testing.ExplorationFailed) as second:
        testing.explore(fails, replay=failure.seed)
    assert second.value.failure.seed == failure.seed
    third = testing.explore(fails, replay=failure.seed, keep_going=True)
    assert (third.runs, len(third.failures)) == (1, 1)
    report = testing.explore(fails, backends=["trio"], keep_going=True)
    assert failure.seed in [found.seed for found in report.failures]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_deadlock_is_found(backend):
    async def deadlocks(run):
        await anyio.Event().wait()

    with pytest.raises(testing.ExplorationFailed, match="Deadlock: deadlock: every task waits"):
        testing.explore(deadlocks, backends=[backend])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_livelock_is_found(backend):
    async def livelocks(run):
        while True:
            await anyio.lowlevel.checkpoint()

    with pytest.raises(testing.ExplorationFailed, match="Livelock: the run did not end"):
        testing.explore(livelocks, backends=[backend])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_livelock_that_cannot_be_cancelled_is_found(backend):
    async def livelocks(run):
        with anyio.CancelScope(shield=True):
            while not stop:
                await anyio.lowlevel.checkpoint()

    stop = []
    with pytest.raises(testing.ExplorationFailed, match="Livelock"):
        try:
            testing.explore(livelocks, backends=[backend])
        finally:
            stop.append(True)


def test_a_task_that_is_left_is_found():
    tasks = []

    async def leaves(run):
        import asyncio

        tasks.append(asyncio.create_task(asyncio.sleep(3600), name="forgotten"))

    with pytest.raises(testing.ExplorationFailed, match="tasks were left behind: forgotten"):
        testing.explore(leaves, backends=["asyncio"])


def test_a_violation_is_found():
    async def sends_twice(run):
        server = run.server()
        await server.send({"type": "websocket.accept"})
        await server.send({"type": "websocket.close"})
        with pytest.raises(RuntimeError):
            await server.send({"type": "websocket.close"})

    with pytest.raises(testing.ExplorationFailed, match="after the application had closed"):
        testing.explore(sends_twice, backends=["asyncio"])


def test_a_failure_has_the_timelines_of_applications_with_the_recorder():
    async def listen(client):
        await client.receive()

    async def fails(run):
        @websocket_app(options=Options(hooks=[run.recorder]))
        async def app(ws):
            await ws.accept()
            await ws.send("hello")

        await testing.conversation(app, listen)(run)
        assert run.quiet

    with pytest.raises(testing.ExplorationFailed) as caught:
        testing.explore(fails, backends=["asyncio"])
    (found,) = caught.value.failure.timelines
    assert found.entries[-1].kind == "closed"
    assert timeline.text(found) in str(caught.value)
