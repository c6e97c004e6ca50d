"""What a deterministic run asks the code that controls it."""

from __future__ import annotations

from typing import Protocol


class Control(Protocol):
    """What the harness asks while it runs."""

    def on_step(self, coroutine: object, name: str) -> None:
        """Something is about to run for one step: a task's coroutine, or `None` for a callback."""
        ...

    def first(self, runnable: int) -> int:
        """Which of the runnable tasks runs first (trio only)."""
        ...

    def check(self) -> None:
        """Raise :class:`Livelock` to stop the run by force."""
        ...
