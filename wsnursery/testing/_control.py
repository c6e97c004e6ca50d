"""The interface of the code that controls a deterministic run."""

from __future__ import annotations

from typing import Protocol


class Control(Protocol):
    """The calls that the harness makes during a run."""

    def on_step(self, coroutine: object, name: str) -> None:
        """Called before each step: of a task's coroutine, or `None` for a callback."""
        ...

    def first(self, runnable: int) -> int:
        """Return which of the runnable tasks runs first (trio only)."""
        ...

    def check(self) -> None:
        """Raise :class:`Livelock` to force the run to stop."""
        ...
