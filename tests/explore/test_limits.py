"""What the fuzzer excuses, without wsnursery: it happens there, too, and is counted exactly."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from tests.explore.limits import LEAKS, CountingGroup, counting_handovers

# Each runs in a task of its own: what is left over would leave the test.


class Counted:
    """What is said of the requests of one run."""

    def __init__(self) -> None:
        self.left_behind = self.asked_anew = self.strays = self.handed_over = 0

    def note_left_behind(self) -> None:
        self.left_behind += 1

    def note_asked_anew(self) -> None:
        self.asked_anew += 1

    def note_stray(self) -> None:
        self.strays += 1

    def note_handed_over(self, scope: Any, requests: int) -> None:
        self.handed_over += requests


def run(work: Callable[[], Awaitable[None]], native: int = 0) -> int:
    """Run it, cancel it natively while it waits; what asyncio counts afterwards."""

    async def main() -> int:
        counts: list[int] = []

        async def counting() -> None:
            task = asyncio.current_task()
            assert task is not None
            try:
                await work()
            finally:
                counts.append(task.cancelling())

        task = asyncio.create_task(counting())
        await asyncio.sleep(0.01)
        for _ in range(native):
            task.cancel()
            await asyncio.sleep(0)
        with suppress(Exception, asyncio.CancelledError):
            await task
        (count,) = counts
        return count

    return asyncio.run(main())


async def fail(seconds: float = 0) -> None:
    await asyncio.sleep(seconds)
    raise ValueError


async def shielded() -> None:
    with anyio.move_on_after(0.05, shield=True):
        await anyio.sleep_forever()


@pytest.mark.parametrize("while_it_is_left", [True, False])
def test_a_group_leaves_a_request_behind(while_it_is_left: bool) -> None:
    counted = Counted()

    async def work() -> None:
        with suppress(ExceptionGroup):
            async with CountingGroup(counted) as group:
                group.create_task(fail())
                if not while_it_is_left:
                    await asyncio.sleep(1)

    count = run(work)
    assert count == counted.left_behind == (LEAKS and while_it_is_left)


def test_after_that_a_scope_around_it_does_not_recognise_its_own_cancellation() -> None:
    counted, left = Counted(), list[bool]()

    async def work() -> None:
        try:
            with anyio.move_on_after(0.01):
                with suppress(ExceptionGroup):
                    async with CountingGroup(counted) as group:
                        group.create_task(fail())
                await anyio.sleep_forever()
        except asyncio.CancelledError:
            left.append(True)

    run(work)
    assert left == [True] * LEAKS


def test_a_group_that_fails_hides_the_cancellation_of_a_scope_around_it() -> None:
    counted, left = Counted(), list[bool]()

    async def fail_late() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError

    async def work() -> None:
        try:
            with anyio.move_on_after(0.01):
                try:
                    async with CountingGroup(counted) as group:
                        group.create_task(fail_late())
                finally:
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            left.append(True)

    run(work)
    assert counted.asked_anew == (not LEAKS)
    assert left == [True] * (not LEAKS)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with CPython 3.12")
def test_a_request_that_an_eager_task_makes_reaches_its_host_after_it_was_taken_back() -> None:
    counted, left = Counted(), list[bool]()

    async def work() -> None:
        loop, eager = asyncio.get_running_loop(), asyncio.eager_task_factory  # type: ignore[attr-defined]
        loop.set_task_factory(eager)
        with suppress(ExceptionGroup):
            async with CountingGroup(counted) as group:
                group.create_task(fail_at_once())
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            left.append(True)

    assert run(work) == 0
    assert counted.strays == LEAKS
    assert counted.left_behind == 0
    assert left == [True] * LEAKS


async def fail_at_once() -> None:
    raise ValueError


def test_a_timeout_hides_the_cancellation_of_a_scope_around_it() -> None:
    left: list[bool] = []

    async def work() -> None:
        try:
            with anyio.move_on_after(0):
                async with asyncio.timeout(0):
                    for _ in range(9):
                        await asyncio.sleep(0)
        except asyncio.CancelledError:
            left.append(True)

    run(work)
    assert left == [True]


def test_it_looks_like_a_cancellation_that_was_swallowed() -> None:
    """Nothing that a library can see tells the two tasks apart."""

    async def leave_one_behind() -> None:
        with suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(0.02))

    async def swallow_one() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1)

    assert run(leave_one_behind) == LEAKS
    assert run(swallow_one, native=1) == 1


def test_a_group_takes_back_what_was_asked_for_natively() -> None:
    counted = Counted()

    async def nested() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            group.start_soon(shielded)

    async def work() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(nested)

    with counting_handovers(counted.note_handed_over):
        count = run(work, native=2)
    assert count == 2 - counted.handed_over
    assert counted.handed_over == 1, "anyio has changed: the fuzzer need not excuse this any more"
