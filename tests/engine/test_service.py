"""What the connection's own tasks have in common: they run, stop and never raise."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from tests._helpers import Owner
from wsnursery._engine.outcome import Source
from wsnursery._engine.service import Service


class Worker(Service):
    """A task that does what it is given."""

    def __init__(self, owner: Owner, what: Callable[[], Awaitable[object]]) -> None:
        super().__init__(owner.connection)
        self._what = what

    async def work(self) -> None:
        await self._what()


def runs(worker: Worker) -> bool:
    return worker.is_running


# contract: L7
async def test_it_runs_until_it_is_stopped() -> None:
    async with anyio.create_task_group() as group:
        owner = Owner(group)
        worker = Worker(owner, anyio.sleep_forever)
        worker.stop()
        assert not runs(worker)
        worker.start()
        assert runs(worker)
        await anyio.sleep(1)
        assert runs(worker)
        assert owner.ended == 0
        worker.stop()
    assert not runs(worker)
    assert owner.ended == 1
    assert not owner.failures
    assert not owner.broken_off
    worker.stop()


# contract: L7
async def test_it_runs_until_it_is_done_whatever_is_cancelled_around_it() -> None:
    async with anyio.create_task_group() as group:
        owner = Owner(group)
        worker = Worker(owner, lambda: anyio.sleep(2))
        worker.start()
        group.cancel_scope.cancel()
    assert anyio.current_time() == 2
    assert owner.ended == 1


async def test_it_can_be_started_again() -> None:
    times: list[float] = []

    async def note() -> None:
        times.append(anyio.current_time())

    async with anyio.create_task_group() as group:
        worker = Worker(Owner(group), note)
        for _ in range(3):
            worker.start()
            await anyio.sleep(1)
            assert not runs(worker)
    assert len(times) == 3


@pytest.mark.parametrize(
    ("kind", "notes"),
    [
        (ValueError, ["this is a bug in wsnursery: please report it"]),
        (KeyboardInterrupt, []),
        (SystemExit, []),
    ],
)
async def test_what_it_raises_leaves_through_the_block(
    kind: type[BaseException], notes: list[str]
) -> None:
    error = kind()

    async def fail() -> None:
        raise error

    async with anyio.create_task_group() as group:
        owner = Owner(group)
        Worker(owner, fail).start()
    assert owner.failures == [(Source.CONNECTION, error)]
    assert getattr(error, "__notes__", []) == notes
    assert owner.ended == 1


# contract: X5
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_the_loop_cancels_every_task() -> None:
    async with anyio.create_task_group() as group:
        owner = Owner(group)
        Worker(owner, anyio.sleep_forever).start()
        await anyio.wait_all_tasks_blocked()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if "wsnursery worker" in task.get_name():
                task.cancel()
    assert owner.broken_off == [None]
    assert owner.failures == []
    assert owner.ended == 1
