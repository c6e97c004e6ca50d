"""Notice that tasks run in circles: one is always runnable, so virtual time stands still."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager

from ._where import where_it_waits

MAX_TURNS = 100_000
"""Turns of the event loop at one instant of virtual time. A test of a few messages takes a few
hundred; this many take a second or two of real time."""

SAMPLE = 100
"""Turns that are looked at to find out which task it is."""

_thread = threading.local()
"""The functions that can stop the applications of the run in this thread."""


class Sample:
    """Counts which tasks run, to tell which one runs in a circle."""

    def __init__(self) -> None:
        self._steps: Counter[object] = Counter()
        self._names: dict[object, str] = {}

    def note(self, coroutine: object, name: str) -> None:
        """A task runs."""
        self._steps[coroutine] += 1
        self._names[coroutine] = name

    @property
    def busiest(self) -> object:
        """The coroutine that has run most often; `None` if none has."""
        return next((coroutine for coroutine, _ in self._steps.most_common(1)), None)

    def __str__(self) -> str:
        most = self._steps[self.busiest]
        places = [
            f"the task {self._names[coroutine]!r} runs in a circle {where}"
            for coroutine, steps in self._steps.most_common()
            if 2 * steps > most and (where := where_it_waits(coroutine))
        ]
        return "; ".join(places)


class TurnLimit:
    """Counts the turns of an event loop in which virtual time stood still.

    Args:
        limit: The greatest number of them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._turns = 0
        self._sample = Sample()

    def reset(self) -> None:
        """Nothing was runnable: time moves."""
        if self._turns > self._limit:
            self._sample = Sample()
        self._turns = 0

    def turn(self) -> bool:
        """One more turn; whether it is one to take a sample of."""
        self._turns += 1
        return self._turns > self._limit

    def note(self, coroutine: object, name: str) -> None:
        """A task runs in a turn to take a sample of."""
        self._sample.note(coroutine, name)

    def exceeded(self) -> tuple[str, object] | None:
        """After a turn: what to say, and the coroutine to blame, if it was one too many."""
        if self._turns < self._limit + SAMPLE:
            return None
        sample = self._sample
        self.reset()
        stood = f"livelock: the clock stood still for {self._limit} turns of the event loop"
        said = f"{stood}, because a task was always runnable"
        return sentence(said, sample), sample.busiest


def sentence(said: str, sample: Sample) -> str:
    """The text of a :class:`Livelock`, and of an :class:`ApplicationStuck` because of one."""
    where = str(sample)
    return (
        f"{said}; {where}. A loop must end, or wait for something: an `except` around receive() or "
        "send() must not go on after WebSocketDisconnected or ClosedResourceError"
        if where
        else said
    )


@contextmanager
def stopped_by_livelock(stop: Callable[[str], None]) -> Generator[None]:
    """While the block lasts, a livelock in this thread calls ``stop`` with what to say."""
    stops: list[Callable[[str], None]] = vars(_thread).setdefault("stops", [])
    stops.append(stop)
    try:
        yield
    finally:
        if stop in stops:
            stops.remove(stop)


def stop_applications(said: str) -> bool:
    """Stop the applications that run in this thread, each once; whether there were any."""
    stops: list[Callable[[str], None]] = vars(_thread).get("stops", [])
    waiting = tuple(stops)
    stops.clear()
    for stop in waiting:
        stop(said)
    return bool(waiting)
