"""Runs on trio with every decision about the order of tasks taken from outside.

trio shuffles the tasks that are runnable at the same time. Where its own tests and Hypothesis
make that deterministic, it sorts them and asks one random generator: here that generator is
replaced by one that does as it is told.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import trio
from trio.testing import MockClock

from ._virtual_trio import DeadlockDetector

if TYPE_CHECKING:
    from ._harness import Control


_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"
_GENERATOR = "_r"


class _Order:
    """Stands in for trio's random generator."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def shuffle(self, batch: list[Any]) -> None:
        """Put one of the runnable tasks first and leave the others in the order of creation."""
        self._control.check()
        if len(batch) > 1:
            batch.insert(0, batch.pop(self._control.first(len(batch))))

    def random(self) -> float:
        """The other question that trio asks; it does not arise in the deterministic mode."""
        return 0.0


class _Stepper(DeadlockDetector):
    def __init__(self, control: Control) -> None:
        super().__init__()
        self._control = control

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        super().before_task_step(task)
        self._control.on_step()


@contextmanager
def controlled(control: Control) -> Generator[dict[str, Any]]:
    """Hand trio's decisions to ``control``; gives the options of the run."""
    # They have no public name; trio's own Hypothesis support sets them from outside as well.
    internals = vars(import_module("trio._core._run"))
    before = {name: internals[name] for name in (_SWITCH, _GENERATOR)}
    internals.update({_SWITCH: True, _GENERATOR: _Order(control)})
    try:
        yield {"clock": MockClock(autojump_threshold=0), "instruments": [_Stepper(control)]}
    finally:
        internals.update(before)
