"""Virtual time for trio: its own MockClock, and an instrument that notices a standstill."""

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
    """The keyword arguments of ``trio.run``; for one run."""
    return {"clock": MockClock(autojump_threshold=0), "instruments": [StuckDetector(max_turns)]}


class StuckDetector(trio.abc.Instrument):
    """Raises :class:`Deadlock` in the main task when nothing can ever happen again.

    Two waits for I/O in a row without any task having run in between, and no deadline: a task in
    ``wait_all_tasks_blocked`` would have woken up after the first.

    And it raises :class:`Livelock` in a task that runs in a circle, so that the clock cannot move.
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
        """Remember the main task: the first one that trio did not start for itself."""
        root = trio.lowlevel.current_root_task()
        if self.main_task is None and root is not None and task is not root:
            self.main_task = task

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task runs: this is not a deadlock."""
        self._idle_waits = 0
        self._patience.reset()
        if self._takes_sample:
            self._limit.note(task.coro, task.name)
        if self._livelock is not None and self._livelock[1] is task.coro:
            raise_in(task, self._livelock[0])
            self._livelock = None

    def before_io_wait(self, timeout: float) -> None:
        """Look whether anything can happen after this, or too much happens at one instant."""
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
        """Stop what runs in a circle: the applications first, then the task itself."""
        now = trio.current_time()
        if now != self._instant:
            self._instant = now
            self._limit.reset()
        self._takes_sample = self._limit.turn()
        exceeded = self._limit.exceeded()
        if exceeded is None or stop_applications(exceeded[0]):
            return
        error, coroutine = Livelock(exceeded[0]), exceeded[1]
        if any(task.coro is coroutine for task in tree(self.main_task)):
            self._livelock = error, coroutine
        elif self.main_task is not None:
            _raise_in_waiting(self.main_task, error)


def raise_in(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Let a task that is about to go on meet an exception instead of the end of its wait."""
    if getcoroutinestate(task.coro) == CORO_SUSPENDED:
        task._next_send = Error(error)  # pyright: ignore[reportPrivateUsage]


def _raise_in_waiting(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Let a task that waits meet an exception instead."""

    def raise_it() -> NoReturn:
        raise error

    # What trio does to deliver a KeyboardInterrupt to a main task that waits.
    task._attempt_abort(raise_it)  # pyright: ignore[reportPrivateUsage]


def tree(task: trio.lowlevel.Task | None) -> list[trio.lowlevel.Task]:
    """A task and everything below it."""
    todo = [] if task is None else [task]
    for found in todo:
        for nursery in found.child_nurseries:
            todo += nursery.child_tasks
    return todo


def _describe(main_task: trio.lowlevel.Task) -> str:
    tasks = enumerate(tree(main_task))
    return describe_deadlock({f"{task.name} #{number}": task.coro for number, task in tasks})
