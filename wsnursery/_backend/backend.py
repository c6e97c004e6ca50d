"""What the engine needs from the running backend: trio and asyncio behind one interface.

All other calls go through anyio's primitives.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from types import ModuleType, coroutine
from typing import Any
from weakref import ReferenceType, ref

import anyio
from anyio.lowlevel import RunVar

from .home import Home
from .running import running_on_trio
from .timer import AsyncioTimer, Timer, TrioTimer
from .wakeup import AsyncioWakeup, TrioWakeup, Wakeup

Work = Callable[[], Coroutine[Any, Any, None]]
Done = Callable[[BaseException], None]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Backend:
    """The running event loop, as the engine sees it."""

    on_trio: bool
    """Whether the loop is trio's (also under its guest mode)."""
    cancel_scope: Callable[[], anyio.CancelScope]
    """Make a cancel scope. It also works in a plain callback of the loop, where anyio cannot find
    out which backend runs."""
    wakeup: Callable[[], Wakeup]
    """Make a `Wakeup`."""
    timer: Timer
    """The loop's timer."""
    now: Callable[[], float]
    """The loop's clock, in seconds."""
    checkpoint: Callable[[], Awaitable[None]]
    """Let other tasks run. Raises if the calling task is cancelled."""
    checkpoint_if_cancelled: Callable[[], Awaitable[None]]
    """On trio: raise if the calling task is cancelled. On asyncio it does nothing, because there a
    cancellation is delivered only where a call waits."""
    spawn: Callable[[Work, str, Done], object]
    """Start a task that only its own cancel scope can cancel. The caller keeps the returned object,
    and waits for the end of the task. On asyncio the last argument is then called with a
    cancellation, in a plain callback of the loop, because a task that is cancelled natively before
    its first step runs none of its code. On trio every task makes its first step."""
    current_task: Callable[[], object]
    """The running task, or `None` in a plain callback of the loop."""
    name_of: Callable[[Any], str]
    """The name of a task."""
    is_finished: Callable[[Any], bool]
    """Whether a task has ended."""
    home: Home
    """The thread and the event loop. Calls from other ones are refused."""
    with_anyio: Callable[[Callable[[], Any]], Any]
    """Call a function that uses anyio. It also works in a plain callback of the loop, where anyio
    cannot find out which backend runs."""


_running: RunVar[ReferenceType[Backend]] = RunVar("wsnursery_backend")
"""A weak reference, because a backend refers to its event loop and anyio keeps what a `RunVar` has
until that loop is freed: a strong one would keep every loop that ever opened a WebSocket."""


def current_backend() -> Backend:
    """The running backend. One object serves all connections of an event loop that are open."""
    reference = _running.get(None)
    backend = reference() if reference is not None else None
    if backend is None:
        backend = _on_trio(sys.modules["trio"]) if running_on_trio() else _on_asyncio()
        _running.set(ref(backend))
    return backend


def _home() -> Home:
    home = Home(
        "a WebSocket belongs to the thread and the event loop in which it was opened",
        "run(ws.send, message)",
    )
    home.settle()
    return home


# -------------------------------------------------------------------------------------------- trio


def _on_trio(trio: ModuleType) -> Backend:
    lowlevel = trio.lowlevel

    def spawn(work: Work, name: str, _: Done) -> object:
        return lowlevel.spawn_system_task(work, name=name, context=copy_context())

    def current_task() -> object:
        return lowlevel.current_task() if lowlevel.in_trio_task() else None

    return Backend(
        on_trio=True,
        cancel_scope=type(anyio.CancelScope()),
        wakeup=partial(TrioWakeup, lowlevel),
        timer=TrioTimer(trio),
        now=trio.current_time,
        checkpoint=lowlevel.checkpoint,
        checkpoint_if_cancelled=lowlevel.checkpoint_if_cancelled,
        spawn=spawn,
        current_task=current_task,
        name_of=attrgetter("name"),
        is_finished=_trio_task_is_finished,
        home=_home(),
        with_anyio=_call,
    )


def _call(call: Callable[[], Any]) -> Any:
    return call()


def _trio_task_is_finished(task: Any) -> bool:
    return task.coro.cr_frame is None


# ----------------------------------------------------------------------------------------- asyncio


def _on_asyncio() -> Backend:
    loop = asyncio.get_running_loop()

    def spawn(work: Work, name: str, done: Done) -> object:
        # Do not use the loop's task factory, because an eager one runs the first step in the
        # caller.
        task = asyncio.Task(work(), loop=loop, name=name)
        task.add_done_callback(lambda _: done(asyncio.CancelledError()))
        return task

    def current_task() -> object:
        return asyncio.current_task(loop)

    return Backend(
        on_trio=False,
        cancel_scope=type(anyio.CancelScope()),
        wakeup=partial(AsyncioWakeup, loop),
        timer=AsyncioTimer(loop),
        now=loop.time,
        checkpoint=_next_turn,
        checkpoint_if_cancelled=_nothing,
        spawn=spawn,
        current_task=current_task,
        name_of=_asyncio_task_name,
        is_finished=_asyncio_task_is_finished,
        home=_home(),
        with_anyio=_with_anyio_on_asyncio,
    )


def _asyncio_task_is_finished(task: asyncio.Task[Any]) -> bool:
    return task.done()


def _asyncio_task_name(task: asyncio.Task[Any]) -> str:
    return task.get_name()


def _with_anyio_on_asyncio(call: Callable[[], Any]) -> Any:
    # anyio uses sniffio where that is installed, and sniffio looks for the running task.
    sniffio = sys.modules.get("sniffio")
    if sniffio is None or asyncio.current_task() is not None:
        return call()
    context = copy_context()
    context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context.run(call)


@coroutine
def _next_turn() -> Generator[None]:
    # As in `asyncio.sleep(0)`. A cancellation is delivered at the next turn of the loop.
    yield


async def _nothing() -> None:
    # Do not use anyio's `checkpoint_if_cancelled`: in a coroutine that a worker thread runs in the
    # loop, it waits for a cancellation that is never delivered.
    pass
