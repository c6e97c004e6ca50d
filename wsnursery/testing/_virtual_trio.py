"""Virtual time for trio: its own MockClock, and an instrument that notices a deadlock."""

from __future__ import annotations

from math import inf
from typing import Any, NoReturn

import trio
from trio.testing import MockClock

from ._errors import Deadlock
from ._patience import Patience
from ._where import describe_deadlock


def virtual_options() -> dict[str, Any]:
    """The keyword arguments of ``trio.run``; for one run."""
    return {"clock": MockClock(autojump_threshold=0), "instruments": [DeadlockDetector()]}


class DeadlockDetector(trio.abc.Instrument):
    """Raises :class:`Deadlock` in the main task when nothing can ever happen again.

    Two waits for I/O in a row without any task having run in between, and no deadline: a task in
    ``wait_all_tasks_blocked`` would have woken up after the first.
    """

    def __init__(self) -> None:
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

    def before_io_wait(self, timeout: float) -> None:
        """Look whether anything can happen after this."""
        self._idle_waits += 1
        if self._idle_waits <= 2 or self.main_task is None:
            return
        statistics = trio.lowlevel.current_statistics()
        if statistics.tasks_runnable or statistics.seconds_to_next_deadline < inf:
            return
        if self._patience.exhausted():
            self._idle_waits = 0
            error = Deadlock(_describe(self.main_task))

            def raise_deadlock() -> NoReturn:
                raise error

            # What trio does to deliver a KeyboardInterrupt to a main task that waits.
            self.main_task._attempt_abort(  # pyright: ignore[reportPrivateUsage]
                raise_deadlock
            )


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
