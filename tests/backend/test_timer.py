"""The timer of the loop: each alarm at its time and once, and its task only while there are any."""

import logging
from collections.abc import Callable

import anyio
import pytest

from wsnursery._backend.backend import current_backend
from wsnursery._backend.running import running_on_trio
from wsnursery._backend.timer import LOOK_SECONDS


class Alarms:
    """Alarms with names, and when they were called."""

    def __init__(self) -> None:
        self.timer = current_backend().timer
        self.calls: list[tuple[str, float]] = []

    def call(self, name: str) -> Callable[[], None]:
        return lambda: self.calls.append((name, self.timer.now()))


async def test_alarms_in_any_order() -> None:
    alarms = Alarms()
    for name, at in (("b", 2), ("c", 3), ("a", 1)):
        alarms.timer.at(at, alarms.call(name))
    await anyio.sleep(4)
    assert alarms.calls == [("a", 1), ("b", 2), ("c", 3)]


async def test_an_earlier_alarm_wakes_the_timer() -> None:
    alarms = Alarms()
    alarms.timer.at(10, alarms.call("b"))
    await anyio.sleep(1)
    alarms.timer.at(2, alarms.call("a"))
    await anyio.sleep(10)
    assert alarms.calls == [("a", 2), ("b", 10)]


async def test_an_alarm_that_is_late_already() -> None:
    alarms = Alarms()
    await anyio.sleep(5)
    alarms.timer.at(1, alarms.call("a"))
    await anyio.sleep(1)
    assert alarms.calls == [("a", 5)]


async def test_a_cancelled_alarm() -> None:
    alarms = Alarms()
    alarm = alarms.timer.at(1, alarms.call("a"))
    alarms.timer.at(2, alarms.call("b"))
    alarm.cancel()
    alarm.cancel()
    await anyio.sleep(3)
    assert alarms.calls == [("b", 2)]


async def test_an_alarm_may_set_another() -> None:
    alarms = Alarms()

    def set_another() -> None:
        alarms.timer.at(2, alarms.call("a"))

    alarms.timer.at(1, set_another)
    await anyio.sleep(3)
    assert alarms.calls == [("a", 2)]


async def test_it_looks_until_there_is_nothing_to_see() -> None:
    alarms, left = Alarms(), [True, True, False]

    def look() -> bool:
        alarms.call("a")()
        return left.pop(0)

    alarms.timer.watch(look)
    alarms.timer.watch(look)
    await anyio.sleep(1)
    times = [at for _, at in alarms.calls]
    assert times == pytest.approx([LOOK_SECONDS, 2 * LOOK_SECONDS, 3 * LOOK_SECONDS])


async def test_a_look_may_end_another() -> None:
    alarms = Alarms()

    def second() -> bool:
        alarms.call("second")()
        return True

    def first() -> bool:
        alarms.timer.unwatch(second)
        return False

    alarms.timer.watch(first)
    alarms.timer.watch(second)
    await anyio.sleep(1)
    assert alarms.calls == []


async def test_without_a_look_there_is_no_round() -> None:
    alarms = Alarms()
    alarms.timer.watch(look := lambda: True)
    alarms.timer.unwatch(look)
    alarms.timer.unwatch(look)
    await anyio.sleep(1)


async def test_a_look_that_fails_is_logged_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    alarms = Alarms()

    def look() -> bool:
        raise ValueError("mine")

    alarms.timer.watch(look)
    await anyio.sleep(1)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "a bug in wsnursery: please report it"


async def test_an_alarm_that_fails_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    if not running_on_trio():
        pytest.skip("asyncio's loop calls each alarm by itself")
    alarms = Alarms()

    def fails() -> None:
        raise ValueError("mine")

    alarms.timer.at(1, fails)
    alarms.timer.at(1, alarms.call("other"))
    await anyio.sleep(2)
    assert alarms.calls == [("other", 1)]
    [record] = caplog.records
    assert record.getMessage() == "a bug in wsnursery: please report it"
