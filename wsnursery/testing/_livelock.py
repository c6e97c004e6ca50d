"""Detect a livelock: a task is always runnable, so virtual time cannot advance."""

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
"""The number of turns that are sampled to find the task."""

_thread = threading.local()
"""The functions that can stop the applications of the run in this thread."""


class Sample:
    """Counts which tasks run, to find the one that loops without waiting."""

    def __init__(self) -> None:
        self._steps: Counter[object] = Counter()
        self._names: dict[object, str] = {}

    def note(self, coroutine: object, name: str) -> None:
        """Count one run of a task."""
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
    """Counts the turns of an event loop at one instant of virtual time.

    Args:
        limit: The most turns that are allowed.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._turns = 0
        self._sample = Sample()

    def reset(self) -> None:
        """Start counting again, because time advances."""
        if self._turns > self._limit:
            self._sample = Sample()
        self._turns = 0

    def turn(self) -> bool:
        """Count a turn. Return whether it should be sampled."""
        self._turns += 1
        return self._turns > self._limit

    def note(self, coroutine: object, name: str) -> None:
        """Count one run of a task in a sampled turn."""
        self._sample.note(coroutine, name)

    def exceeded(self) -> tuple[str, object] | None:
        """After a turn over the limit, return the message and the busiest coroutine."""
        if self._turns < self._limit + SAMPLE:
            return None
        sample = self._sample
        self.reset()
        stood = f"livelock: the clock stood still for {self._limit} turns of the event loop"
        said = f"{stood}, because a task was always runnable"
        return livelock_text(said, sample), sample.busiest


def livelock_text(said: str, sample: Sample) -> str:
    """Return the text of a :class:`Livelock`, or of an :class:`ApplicationStuck` due to one."""
    where = str(sample)
    return (
        f"{said}; {where}. A loop must end, or wait for something: an `except` around receive() or "
        "send() must not continue after WebSocketDisconnected or ClosedResourceError"
        if where
        else said
    )


@contextmanager
def stopped_by_livelock(stop: Callable[[str], None]) -> Generator[None]:
    """Inside the block, a livelock in this thread calls ``stop`` with the message."""
    stops: list[Callable[[str], None]] = vars(_thread).setdefault("stops", [])
    stops.append(stop)
    try:
        yield
    finally:
        if stop in stops:
            stops.remove(stop)


def stop_applications(said: str) -> bool:
    """Stop each application that runs in this thread. Return whether there was one."""
    stops: list[Callable[[str], None]] = vars(_thread).get("stops", [])
    waiting = tuple(stops)
    stops.clear()
    for stop in waiting:
        stop(said)
    return bool(waiting)
