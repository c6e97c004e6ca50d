"""What the engine asks of the backend, which is the same on both."""

import asyncio
import sys
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskStatus

from tests.contract._bench import cancelling
from wsnursery._backend.native import (
    AsyncioWakeup,
    Begun,
    TrioWakeup,
    Wakeup,
    native,
    running_on_trio,
)


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
    assert type(native().wakeup()) is expected


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_without_trio_it_is_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trio")
    assert not running_on_trio()


# contract: B1
@pytest.mark.parametrize("wakes", [1, 2, 5])
async def test_it_sleeps_until_it_is_woken(wakes: int) -> None:
    """Several wakes before it has run are one."""
    sleeper = Sleeper(native().wakeup())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper.run)
        for round_ in range(3):
            await anyio.wait_all_tasks_blocked()
            assert [sleeper.wakeup.is_asleep] == [True]
            assert sleeper.woken == round_
            for _ in range(wakes):
                sleeper.wakeup.wake()
            assert [sleeper.wakeup.is_asleep] == [False]
            assert sleeper.woken == round_
        await anyio.wait_all_tasks_blocked()
        assert sleeper.woken == 3
        tasks.cancel_scope.cancel()


async def test_a_wake_without_a_sleeper_is_forgotten() -> None:
    wakeup = native().wakeup()
    wakeup.wake()
    with anyio.move_on_after(1) as limit:
        await wakeup.wait()
    assert limit.cancelled_caught
    assert anyio.current_time() == 1


async def test_a_cancelled_sleep_is_as_if_never_slept() -> None:
    wakeup = native().wakeup()
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
    wakeup = native().wakeup()
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
    wakeup = native().wakeup()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await wakeup.wait()
        pytest.fail("it was not a checkpoint")
    assert scope.cancelled_caught


# contract: B2
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("woken", [False, True])
async def test_a_native_cancellation(woken: bool) -> None:
    sleeper = Sleeper(native().wakeup())
    task = asyncio.create_task(sleeper.run())
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    if woken:
        sleeper.wakeup.wake()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sleeper.woken == 0
    sleeper.wakeup.wake()


# ----------------------------------------------------------------------------- the running backend


async def test_its_clock() -> None:
    assert native().now() == anyio.current_time()


async def test_a_checkpoint_lets_others_run() -> None:
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for _ in range(2):  # trio shuffles who is first
            await native().checkpoint()
        assert ran == ["other"]


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint_if_cancelled"])
async def test_a_checkpoint_is_cancelled(name: str) -> None:
    with anyio.CancelScope() as scope:
        await getattr(native(), name)()
        scope.cancel()
        await getattr(native(), name)()
    assert scope.cancelled_caught


async def test_without_a_cancellation_others_wait() -> None:
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await native().checkpoint_if_cancelled()
        assert not ran


# ---------------------------------------------------------------------------------------- the stage


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_trio_has_no_stage() -> None:
    assert native().stage() is None


var: ContextVar[str] = ContextVar("var", default="nothing")


class Actor:
    """A task with a stage: it finishes whatever others have begun there."""

    def __init__(self) -> None:
        self.wakeup = native().wakeup()
        self.begun: Begun | None = None
        self.outcome: object = None

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        self.task = asyncio.current_task()
        stage = native().stage()
        assert stage is not None
        self.stage = stage
        task_status.started()
        thrown: BaseException | None = None
        try:
            await self.wakeup.wait()
        except asyncio.CancelledError as exc:
            thrown = exc
        assert self.begun is not None
        try:
            await self.begun.finish(thrown)
        except BaseException as exc:
            self.outcome = exc
            raise
        self.outcome = "finished"

    def begin(self, steps: Coroutine[Any, Any, None]) -> bool:
        """Begin it; say whether something is left to do."""
        self.begun = self.stage.begin(steps)
        if self.begun is not None:
            self.wakeup.wake()
        return self.begun is not None


@asynccontextmanager
async def acting() -> AsyncGenerator[Actor]:
    """An actor, waiting."""
    actor = Actor()
    async with anyio.create_task_group() as tasks:
        await tasks.start(actor.run)
        await anyio.wait_all_tasks_blocked()
        yield actor
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()


on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


@on_asyncio
async def test_a_callback_of_the_loop_begins_it() -> None:
    """It has no task of its own."""
    seen: list[object] = []

    async def steps() -> None:
        seen.append(asyncio.current_task())

    async with acting() as actor:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: actor.begin(steps()))
        await anyio.wait_all_tasks_blocked()
        assert seen == [actor.task]
        loop.call_soon(lambda: actor.begin(anyio.sleep(1)))
        await anyio.sleep(2)
        assert actor.outcome == "finished"


# contract: S9
@on_asyncio
async def test_what_does_not_wait_is_done_at_once() -> None:
    async with acting() as actor:
        seen: list[object] = []

        async def steps() -> None:
            seen.append(asyncio.current_task())

        here = asyncio.current_task()
        assert not actor.begin(steps())
        assert seen == [actor.task]
        assert asyncio.current_task() is here
        actor.begin(anyio.sleep(1))  # so that the actor has something to finish


@on_asyncio
async def test_what_waits_goes_on_in_the_task_of_the_stage() -> None:
    """It sees one task and one context from beginning to end."""
    seen: list[object] = []

    async def steps() -> None:
        token = var.set("mine")
        async with asyncio.timeout(10):
            with anyio.fail_after(10):
                for delay in (0, 1):
                    seen.append((asyncio.current_task(), var.get()))
                    await anyio.sleep(delay)
        seen.append((asyncio.current_task(), var.get()))
        var.reset(token)

    async with acting() as actor:
        assert actor.begin(steps())
        assert var.get() == "nothing"
        assert len(seen) == 1
        await anyio.sleep(2)
        assert seen == [(actor.task, "mine")] * 3
        assert actor.outcome == "finished"


@on_asyncio
async def test_whoever_began_it_is_cancelled_alone() -> None:
    done: list[str] = []

    async def steps() -> None:
        await anyio.sleep(1)
        done.append("whole")

    async with acting() as actor:
        with anyio.CancelScope() as scope:
            actor.begin(steps())
            scope.cancel()
            await anyio.sleep(5)
        await anyio.sleep(2)
        assert done == ["whole"]
        assert actor.outcome == "finished"


@on_asyncio
async def test_a_first_step_that_raises() -> None:
    """It raises where the rest would have run; the caller's frames are not in its traceback."""

    async def steps() -> None:
        raise ValueError("at once")

    with pytest.raises(ExceptionGroup) as raised:
        async with acting() as actor:
            assert actor.begin(steps())
            await anyio.sleep_forever()
    [error] = raised.value.exceptions
    assert isinstance(error, ValueError)
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] == "steps"
    assert "begin" not in names


@on_asyncio
async def test_a_later_step_that_raises() -> None:
    async def steps() -> None:
        await anyio.sleep(1)
        raise ValueError("later")

    with pytest.raises(ExceptionGroup) as raised:
        async with acting() as actor:
            assert actor.begin(steps())
            await anyio.sleep_forever()
    assert [str(exc) for exc in raised.value.exceptions] == ["later"]


@on_asyncio
@pytest.mark.parametrize("pause", [0, 1])
async def test_the_task_of_the_stage_is_cancelled(pause: int) -> None:
    """Before it has taken over, and after: the coroutine is cancelled where it waits."""
    seen: list[str] = []

    async def steps() -> None:
        try:
            await anyio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with acting() as actor:
        actor.begin(steps())
        if pause:
            await anyio.sleep(pause)
        assert actor.task is not None
        actor.task.cancel()
        await anyio.wait_all_tasks_blocked()
        assert seen == ["cancelled"]
        assert isinstance(actor.outcome, asyncio.CancelledError)


@on_asyncio
async def test_a_coroutine_that_survives_its_cancellation() -> None:
    seen: list[str] = []

    async def steps() -> None:
        try:
            await anyio.sleep(10)
        except asyncio.CancelledError:
            seen.append("cancelled")
        await asyncio.sleep(1)
        seen.append("went on")

    async with acting() as actor:
        actor.begin(steps())
        assert actor.task is not None
        actor.task.cancel()
        await anyio.sleep(2)
        assert seen == ["cancelled", "went on"]
        assert actor.outcome == "finished"
