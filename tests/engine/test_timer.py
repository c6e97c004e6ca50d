"""Alarms: each at its time, once, and the task only while there are any."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest

from tests._helpers import Owner
from wsnursery._engine.timer import Watchdog


class Alarms:
    """Alarms with names, and when they went off."""

    def __init__(self, watchdog: Watchdog) -> None:
        self.watchdog = watchdog
        self.heard: list[tuple[str, float]] = []
        self._alarms = {name: self._alarm(name) for name in "abc"}

    def _alarm(self, name: str) -> Callable[[], None]:
        return lambda: self.heard.append((name, anyio.current_time()))

    def watch(self, name: str, at: float) -> None:
        self.watchdog.watch(self._alarms[name], at)

    def running(self) -> bool:
        return self.watchdog.is_running

    def forget(self, name: str) -> None:
        self.watchdog.forget(self._alarms[name])


@asynccontextmanager
async def watching() -> AsyncIterator[Alarms]:
    """Alarms that may ring until the watchdog ends by itself."""
    async with anyio.create_task_group() as group:
        owner = Owner(group)
        alarms = Alarms(Watchdog(owner.connection))
        yield alarms
    assert owner.failures == []
    assert not alarms.running()


async def test_alarms_in_any_order() -> None:
    async with watching() as alarms:
        alarms.watch("b", 2)
        alarms.watch("c", 3)
        alarms.watch("a", 1)
    assert alarms.heard == [("a", 1), ("b", 2), ("c", 3)]


async def test_alarms_at_one_time() -> None:
    async with watching() as alarms:
        alarms.watch("a", 1)
        alarms.watch("b", 1)
    assert alarms.heard == [("a", 1), ("b", 1)]


async def test_an_alarm_that_is_late_already() -> None:
    async with watching() as alarms:
        await anyio.sleep(5)
        alarms.watch("a", 1)
    assert alarms.heard == [("a", 5)]


async def test_an_earlier_alarm_wakes_a_watchdog_that_sleeps() -> None:
    async with watching() as alarms:
        alarms.watch("b", 10)
        await anyio.sleep(1)
        alarms.watch("a", 2)
        await anyio.sleep(2)
        assert alarms.heard == [("a", 2)]
    assert alarms.heard == [("a", 2), ("b", 10)]


async def test_the_last_time_counts() -> None:
    async with watching() as alarms:
        alarms.watch("a", 5)
        await anyio.sleep(1)
        alarms.watch("a", 8)
        alarms.watch("b", 9)
        alarms.watch("b", 2)
    assert alarms.heard == [("b", 2), ("a", 8)]


async def test_an_alarm_that_is_put_off_again_and_again() -> None:
    """As for every message of a busy peer."""
    async with watching() as alarms:
        for second in range(10):
            alarms.watch("a", second + 3)
            await anyio.sleep(1)
        assert alarms.heard == []
    assert alarms.heard == [("a", 12)]


async def test_a_forgotten_alarm() -> None:
    async with watching() as alarms:
        alarms.forget("a")
        alarms.watch("a", 1)
        alarms.watch("b", 2)
        alarms.forget("a")
    assert alarms.heard == [("b", 2)]


@pytest.mark.parametrize("has_begun", [False, True])
async def test_it_ends_at_once_when_it_may(has_begun: bool) -> None:
    async with watching() as alarms:
        alarms.watch("a", 100)
        if has_begun:
            await anyio.sleep(1)
        alarms.forget("a")
        alarms.watchdog.relax()
        await anyio.sleep(0.1)
        assert not alarms.running()
        alarms.watch("b", 200)
    assert alarms.heard == [("b", 200)]


async def test_it_does_not_end_while_there_is_an_alarm() -> None:
    async with watching() as alarms:
        alarms.watch("a", 100)
        alarms.watchdog.relax()
        await anyio.wait_all_tasks_blocked()
        assert alarms.running()
    assert alarms.heard == [("a", 100)]


async def test_it_ends_when_there_is_nothing_to_watch() -> None:
    async with watching() as alarms:
        alarms.watch("a", 1)
        await anyio.sleep(0.5)
        alarms.forget("a")
        assert alarms.running()
        await anyio.sleep(1)
        assert not alarms.running()
        alarms.watch("b", 3)
        assert alarms.running()
        alarms.watch("c", 2)
    assert alarms.heard == [("c", 2), ("b", 3)]


async def test_an_alarm_may_watch_another() -> None:
    async with watching() as alarms:

        def again() -> None:
            alarms.watch("a", anyio.current_time() + 1)
            alarms.forget("b")

        alarms.watchdog.watch(again, 1)
        alarms.watch("b", 2)
    assert alarms.heard == [("a", 2)]


async def test_stopped_it_calls_nobody() -> None:
    async with watching() as alarms:
        alarms.watch("a", 1)
        await anyio.sleep(0.5)
        alarms.watchdog.stop()
    assert alarms.heard == []
    assert anyio.current_time() == 0.5
