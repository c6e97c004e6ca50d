"""One task's sleep until another wakes it: the same on both backends."""

import asyncio
import sys
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

from tests.contract._bench import cancelling
from wsnursery._wakeup import AsyncioWakeup, TrioWakeup, Wakeup, running_on_trio, wakeup_class


class Sleeper:
    """A task that waits again and again, and writes down when it was woken."""

    def __init__(self, wakeup: Wakeup) -> None:
        self.wakeup = wakeup
        self.woken = 0

    async def run(self) -> None:
        while True:
            await self.wakeup.wait()
            self.woken += 1


async def test_the_class_of_the_running_backend(anyio_backend_name: str) -> None:
    assert running_on_trio() is (anyio_backend_name == "trio")
    expected = {"trio": TrioWakeup, "asyncio": AsyncioWakeup}[anyio_backend_name]
    assert wakeup_class() is expected


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_without_trio_it_is_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trio")
    assert not running_on_trio()


# contract: B1
@pytest.mark.parametrize("wakes", [1, 2, 5])
async def test_it_sleeps_until_it_is_woken(wakes: int) -> None:
    """Several wakes before it has run are one."""
    sleeper = Sleeper(wakeup_class()())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper.run)
        for round_ in range(3):
            await anyio.wait_all_tasks_blocked()
            assert sleeper.woken == round_
            for _ in range(wakes):
                sleeper.wakeup.wake()
            assert sleeper.woken == round_
        await anyio.wait_all_tasks_blocked()
        assert sleeper.woken == 3
        tasks.cancel_scope.cancel()


async def test_a_wake_without_a_sleeper_is_forgotten() -> None:
    wakeup = wakeup_class()()
    wakeup.wake()
    with anyio.move_on_after(1) as limit:
        await wakeup.wait()
    assert limit.cancelled_caught
    assert anyio.current_time() == 1


async def test_a_cancelled_sleep_is_as_if_never_slept() -> None:
    wakeup = wakeup_class()()
    for _ in range(3):
        with anyio.move_on_after(1) as limit:
            await wakeup.wait()
        assert limit.cancelled_caught
        wakeup.wake()
    sleeper = Sleeper(wakeup)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper.run)
        await anyio.wait_all_tasks_blocked()
        wakeup.wake()
        await anyio.wait_all_tasks_blocked()
        assert sleeper.woken == 1
        tasks.cancel_scope.cancel()
    wakeup.wake()


@pytest.mark.parametrize("order", ["cancel, wake", "wake, cancel"])
async def test_cancelled_and_woken_at_once(order: str) -> None:
    """Whichever comes first: no error, and the task ends."""
    wakeup = wakeup_class()()
    sleeper = Sleeper(wakeup)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper.run)
        await anyio.wait_all_tasks_blocked()
        actions: dict[str, Callable[[], object]] = {
            "cancel": tasks.cancel_scope.cancel,
            "wake": wakeup.wake,
        }
        for action in order.split(", "):
            actions[action]()
    assert sleeper.woken <= 1
    assert cancelling() == 0


async def test_sleeping_is_a_checkpoint_that_a_cancellation_meets() -> None:
    wakeup = wakeup_class()()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await wakeup.wait()
        pytest.fail("it was not a checkpoint")
    assert scope.cancelled_caught


# contract: B2
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("woken", [False, True])
async def test_a_native_cancellation(woken: bool) -> None:
    sleeper = Sleeper(wakeup_class()())
    task = asyncio.create_task(sleeper.run())
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    if woken:
        sleeper.wakeup.wake()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sleeper.woken == 0
    sleeper.wakeup.wake()
