"""Runs on trio in which the control decides about the order of tasks.

trio shuffles the tasks that are runnable at the same time. In its deterministic mode, for its own
tests and for Hypothesis, it sorts them and uses one random generator. Here that generator is
replaced by one that follows the control.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import trio
from trio.testing import MockClock

from ._control import Control
from ._errors import Livelock
from ._virtual_trio import StuckDetector, raise_in, tree

_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"
_GENERATOR = "_r"


class _Order:
    """Replaces trio's random generator."""

    def __init__(self, control: Control, stepper: _Stepper) -> None:
        self._control = control
        self._stepper = stepper
        self._stopped: set[trio.lowlevel.Task] = set()

    def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
        """Let one of the runnable tasks run first and the others in the order of creation."""
        try:
            self._control.check()
        except Livelock as livelock:
            # An exception here would destroy the run. Raised in the tasks, it ends the run.
            for task in set(batch) & set(tree(self._stepper.main_task)):
                if task not in self._stopped:
                    # Only once: a second one might arrive while the task leaves a nursery,
                    # which trio does not support.
                    self._stopped.add(task)
                    raise_in(task, livelock)
        if len(batch) > 1:
            first = batch.pop(self._control.first(len(batch)))
            batch.reverse()  # trio takes them from the end
            batch.append(first)

    def random(self) -> float:
        """Another method that trio calls, but not in the deterministic mode."""
        return 0.0


class _Stepper(StuckDetector):
    def __init__(self, control: Control) -> None:
        super().__init__()
        self._control = control

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        super().before_task_step(task)
        self._control.on_step(task.coro, task.name)


@contextmanager
def controlled(control: Control) -> Generator[dict[str, Any]]:
    """Let ``control`` make trio's decisions. Gives the options of the run."""
    # They have no public names. trio's own support for Hypothesis also sets them from outside.
    internals = vars(import_module("trio._core._run"))
    before = {name: internals[name] for name in (_SWITCH, _GENERATOR)}
    stepper = _Stepper(control)
    internals.update({_SWITCH: True, _GENERATOR: _Order(control, stepper)})
    try:
        yield {"clock": MockClock(autojump_threshold=0), "instruments": [stepper]}
    finally:
        internals.update(before)
