"""Counts the steps of an event loop, which are the same on every machine."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

import trio

_Ts = TypeVarTuple("_Ts")


class StepCounter:
    """The number of times that a task was resumed (trio) or a callback was scheduled (asyncio)."""

    def __init__(self) -> None:
        self.steps = 0


class TrioSteps(trio.abc.Instrument):
    """Counts for `trio.run`."""

    def __init__(self, counter: StepCounter) -> None:
        self._counter = counter

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """One more."""
        self._counter.steps += 1


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts on asyncio."""

    def __init__(
        self, counter: StepCounter, selector: selectors.BaseSelector | None = None
    ) -> None:
        super().__init__(selector)
        self._counter = counter

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """One more."""
        self._counter.steps += 1
        return super().call_soon(callback, *args, context=context)
