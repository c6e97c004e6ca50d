"""Virtual time for trio: its own MockClock, and an instrument that detects deadlocks."""

from __future__ import annotations

from inspect import CORO_SUSPENDED, getcoroutinestate
from math import inf
from typing import Any, NoReturn

import trio
from outcome import Error
from trio.testing import MockClock

from ._errors import Deadlock, Livelock
from ._livelock import MAX_TURNS, TurnLimit, stop_applications
from ._patience import Patience
from ._where import describe_deadlock


def virtual_options(max_turns: int = MAX_TURNS) -> dict[str, Any]:
    """Return the keyword arguments for one ``trio.run``."""
    return {"clock": MockClock(autojump_threshold=0), "instruments": [StuckDetector(max_turns)]}


class StuckDetector(trio.abc.Instrument):
    """Raises :class:`Deadlock` in the main task when nothing can ever happen again.

    The sign is two consecutive waits for I/O without a deadline, while no task runs in between. One
    is not enough, because a task in ``wait_all_tasks_blocked`` wakes up after the first.

    It also raises :class:`Livelock` in a task that loops without waiting.
    """

    def __init__(self, max_turns: int = MAX_TURNS) -> None:
        self._limit = TurnLimit(max_turns)
        self._takes_sample = False
        self._instant = -inf
        self._livelock: tuple[Livelock, object] | None = None
        self._idle_waits = 0
        self._patience = Patience()
        self.main_task: trio.lowlevel.Task | None = None

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """Remember the main task: the first one that is not one of trio's own."""
        root = trio.lowlevel.current_root_task()
        if self.main_task is None and root is not None and task is not root:
            self.main_task = task

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note that a task runs, so that there is no deadlock."""
        self._idle_waits = 0
        self._patience.reset()
        if self._takes_sample:
            self._limit.note(task.coro, task.name)
        if self._livelock is not None and self._livelock[1] is task.coro:
            raise_in(task, self._livelock[0])
            self._livelock = None

    def before_io_wait(self, timeout: float) -> None:
        """Check for a deadlock, and for too many turns at one instant."""
        self._count_turn()
        self._idle_waits += 1
        if self._idle_waits <= 2 or self.main_task is None:
            return
        statistics = trio.lowlevel.current_statistics()
        if statistics.tasks_runnable or statistics.seconds_to_next_deadline < inf:
            return
        if self._patience.exhausted():
            self._idle_waits = 0
            _raise_in_waiting(self.main_task, Deadlock(_describe(self.main_task)))

    def _count_turn(self) -> None:
        """Stop an endless loop: first the applications, then the task itself."""
        now = trio.current_time()
        if now != self._instant:
            self._instant = now
            self._limit.reset()
        self._takes_sample = self._limit.turn()
        exceeded = self._limit.exceeded()
        if exceeded is None or self.main_task is None or stop_applications(exceeded[0]):
            return
        error, coroutine = Livelock(exceeded[0]), exceeded[1]
        if any(task.coro is coroutine for task in tree(self.main_task)):
            self._livelock = error, coroutine
        else:
            _raise_in_waiting(self.main_task, error)


def raise_in(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Raise an exception in a runnable task, in place of the result of its wait."""
    if getcoroutinestate(task.coro) == CORO_SUSPENDED:
        task._next_send = Error(error)  # pyright: ignore[reportPrivateUsage]


def _raise_in_waiting(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Raise an exception in a waiting task."""

    def raise_it() -> NoReturn:
        raise error

    # trio does the same to deliver a KeyboardInterrupt to a main task that waits.
    task._attempt_abort(raise_it)  # pyright: ignore[reportPrivateUsage]


def tree(task: trio.lowlevel.Task | None) -> list[trio.lowlevel.Task]:
    """Return a task and all its descendants."""
    todo = [] if task is None else [task]
    for found in todo:
        for nursery in found.child_nurseries:
            todo += nursery.child_tasks
    return todo


def _describe(main_task: trio.lowlevel.Task) -> str:
    tasks = enumerate(tree(main_task))
    return describe_deadlock({f"{task.name} #{number}": task.coro for number, task in tasks})
