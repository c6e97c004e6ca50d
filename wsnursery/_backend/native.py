"""What every message needs of the backend: trio and asyncio side by side behind one interface.

anyio offers the same, with more calls per message: it asks which backend runs each time, an
`anyio.Event` is a new object for every wait, and a memory object stream can lose its item when a
native cancellation meets a delivery. Everything else goes through anyio.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.tasks import _enter_task as enter_task  # pyright: ignore[reportPrivateUsage]
from asyncio.tasks import _leave_task as leave_task  # pyright: ignore[reportPrivateUsage]
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import cache, partial
from types import ModuleType, coroutine
from typing import TYPE_CHECKING, Any, Protocol

import anyio.lowlevel

if TYPE_CHECKING:
    import trio


class Wakeup(Protocol):
    """Lets one task at a time sleep until it is woken.

    It carries no item: the sleeper looks again at the state that the waker has changed, so a
    wake-up may come too often, never too seldom.
    """

    @property
    def is_asleep(self) -> bool:
        """A task sleeps and nothing has woken it yet."""
        ...

    async def wait(self) -> None:
        """Sleep until `wake`. A checkpoint; when it is cancelled, it is as if never called."""
        ...

    def wake(self) -> None:
        """Wake the sleeping task, if there is one. Any task of the loop may call it."""
        ...


@dataclass(frozen=True, slots=True)
class Native:
    """What the engine asks of the running backend."""

    wakeup: Callable[[], Wakeup]
    """Make a `Wakeup`."""
    now: Callable[[], float]
    """The backend's clock, in seconds."""
    checkpoint: Callable[[], Awaitable[None]]
    """Let other tasks run, or be cancelled."""
    checkpoint_if_cancelled: Callable[[], Awaitable[None]]
    """Be cancelled, if the calling task is."""
    stage: Callable[[], Stage | None]
    """Let other tasks begin coroutines in the name of the calling one, where that is possible. On
    trio it is not: nobody can tell a coroutine there that it is in another task."""


def native() -> Native:
    """The running backend."""
    return _trio() if running_on_trio() else _asyncio()


def running_on_trio() -> bool:
    """Whether the calling task is a trio task (also true under trio's guest mode)."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_task()


# -------------------------------------------------------------------------------------------- trio


@cache  # it has nothing of the run that it is asked for in
def _trio() -> Native:
    trio = sys.modules["trio"]  # whoever runs on it has imported it
    lowlevel = trio.lowlevel
    return Native(
        wakeup=partial(TrioWakeup, lowlevel),
        now=trio.current_time,
        checkpoint=lowlevel.checkpoint,
        checkpoint_if_cancelled=lowlevel.checkpoint_if_cancelled,
        stage=_no_stage,
    )


def _no_stage() -> None:
    return None


class TrioWakeup:
    """`Wakeup` on trio's own primitive."""

    __slots__ = ("_lowlevel", "_task")

    def __init__(self, lowlevel: ModuleType) -> None:
        self._lowlevel = lowlevel
        self._task: trio.lowlevel.Task | None = None

    @property
    def is_asleep(self) -> bool:
        return self._task is not None

    async def wait(self) -> None:
        self._task = self._lowlevel.current_task()
        await self._lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        succeeded: trio.lowlevel.Abort = self._lowlevel.Abort.SUCCEEDED
        return succeeded

    def wake(self) -> None:
        if self._task is not None:
            self._lowlevel.reschedule(self._task)
            self._task = None


# ----------------------------------------------------------------------------------------- asyncio


def _asyncio() -> Native:
    loop = asyncio.get_running_loop()
    backend = anyio.lowlevel.current_token().backend_class
    return Native(
        wakeup=partial(AsyncioWakeup, loop),
        now=loop.time,
        checkpoint=_next_turn,
        checkpoint_if_cancelled=backend.checkpoint_if_cancelled,
        stage=partial(Stage, loop),
    )


@coroutine
def _next_turn() -> Generator[None]:
    # What `asyncio.sleep(0)` does; whoever cancels is heard at the next turn of the loop.
    yield


class AsyncioWakeup:
    """`Wakeup` on an asyncio future."""

    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    @property
    def is_asleep(self) -> bool:
        # A future that is done has been woken already, or its task is being cancelled.
        return self._future is not None and not self._future.done()

    async def wait(self) -> None:
        self._future = self._loop.create_future()
        try:
            await self._future
        finally:
            self._future = None

    def wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


class Stage:
    """An asyncio task that lets other tasks begin coroutines in its name.

    A coroutine that ends without waiting costs no switch of tasks then, and cannot be cancelled by
    whoever began it. One that waits goes on in the task of the stage. It cannot tell the
    difference: ``asyncio.current_task`` is that task from the first step to the last, and its
    context variables are the same.
    """

    __slots__ = ("_context", "_loop", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        task = asyncio.current_task(loop)
        assert task is not None
        self._task = task
        self._context = copy_context()

    def begin(self, steps: Coroutine[Any, Any, None]) -> Begun | None:
        """Run a coroutine up to where it first waits. The task of the stage must be asleep.

        Returns:
            What is left to do of it in the task of the stage; `None` if nothing is.
        """
        caller = asyncio.current_task(self._loop)
        if caller is not None:  # else a callback of the loop
            leave_task(self._loop, caller)
        enter_task(self._loop, self._task)
        try:
            awaited = self._context.run(steps.send, None)
        except StopIteration:
            return None
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - raised where the rest would have run
            # Without this frame, for it leads to the caller, who is going to meet the exception.
            exc.__traceback__ = exc.__traceback__ and exc.__traceback__.tb_next
            return Begun(steps, self._context, error=exc)  # noqa: ASYNC104
        finally:
            leave_task(self._loop, self._task)
            if caller is not None:
                enter_task(self._loop, caller)
        return Begun(steps, self._context, awaited=awaited)


class Begun:
    """A coroutine of which the first step has been run."""

    __slots__ = ("_awaited", "_context", "_error", "_steps")

    def __init__(
        self,
        steps: Coroutine[Any, Any, None],
        context: Context,
        *,
        awaited: Any = None,
        error: BaseException | None = None,
    ) -> None:
        self._steps = steps
        self._context = context
        self._awaited = awaited
        """What the first step waits for."""
        self._error = error
        """What the first step has raised."""

    @coroutine
    def finish(self, thrown: BaseException | None = None) -> Generator[Any, Any, None]:
        """Do the rest, in the task of the stage.

        Args:
            thrown: A cancellation that the task has met between the first step and this.
        """
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error
        run, steps, awaited = self._context.run, self._steps, self._awaited
        try:
            while True:
                if thrown is None:
                    try:
                        yield awaited
                    except BaseException as exc:  # noqa: ASYNC103, BLE001 - for the coroutine
                        thrown = exc
                if thrown is None:
                    awaited = run(steps.send, None)
                else:
                    passed_on, thrown = thrown, None
                    try:
                        awaited = run(steps.throw, passed_on)
                    finally:
                        del passed_on
        except StopIteration:
            return
