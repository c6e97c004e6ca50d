"""What CPython and anyio do wrong to the cancellations of a program, also to one without wsnursery.

It is counted while a program runs, so that the judge excuses exactly that, and nothing else.
``test_limits.py`` shows each of them without wsnursery.

- Before CPython 3.13 an `asyncio.TaskGroup` whose task fails while the group is being left asks for
  a cancellation of its host that it never takes back. The count is too high from then on, and what
  is around the group, a scope of anyio's or an `asyncio.timeout`, lets its own cancellation out.
- Before CPython 3.13 a request that is withdrawn before it has reached the task reaches it all the
  same. An eager task can fail while its host creates it, and a group that need not wait afterwards
  is left before that: the next wait of the host raises a cancellation that nobody requests.
- Since CPython 3.13 a group that fails cancels its host anew if that is being cancelled, without
  the words by which anyio recognises the cancellations of its scopes.
- An `asyncio.timeout` that expires while a scope of anyio's around it is being cancelled takes that
  for a native cancellation and lets its own one out, which has not got those words either.
- On asyncio a scope of anyio's hands the requests that it has made to the scope around it, also
  where that one is in another task: a nested group that fails, while the outer one is cancelled.
  The outer one then takes back requests that were made natively.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol

LEAKS = sys.version_info < (3, 13)
"""Whether an `asyncio.TaskGroup` can leave a request behind, and whether one that is withdrawn can
still reach the task."""


class Notes(Protocol):
    """What a group of asyncio's has done to its host."""

    def note_left_behind(self) -> None:
        """It has not taken back a request."""
        ...

    def note_asked_anew(self) -> None:
        """It has cancelled a host that was being cancelled."""
        ...

    def note_stray(self) -> None:
        """It has taken back a request that is going to reach its host nevertheless."""
        ...


class CountingGroup(asyncio.TaskGroup):
    """Says when a request of its own stays with its host."""

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self._notes = notes

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Only a request that is there already when it begins to leave is taken back.
        before: bool = self._parent_cancel_requested  # type: ignore[attr-defined]
        task: Any = asyncio.current_task()
        try:
            await super().__aexit__(kind, exc, traceback)
        except BaseExceptionGroup:
            if not LEAKS and task.cancelling():
                self._notes.note_asked_anew()
            raise
        finally:
            if LEAKS and self._parent_cancel_requested:  # type: ignore[attr-defined]
                if not before:
                    self._notes.note_left_behind()
                elif task._must_cancel:
                    self._notes.note_stray()


@contextmanager
def counting_handovers(note: Callable[[Any, int], None]) -> Generator[None]:
    """Say when a scope hands its requests to a scope of another task.

    Args:
        note: Called then, with the scope that gets them and how many they are.
    """
    scopes: Any = import_module("anyio._backends._asyncio").CancelScope
    leave = scopes.__exit__

    def leave_and_note(scope: Any, *exc_info: Any) -> Any:
        outer, task = scope._parent_scope, scope._host_task
        before = 0 if outer is None else outer._pending_uncancellations
        try:
            return leave(scope, *exc_info)
        finally:
            if outer is not None and outer._host_task is not task:
                handed_over = outer._pending_uncancellations - before
                if handed_over > 0:
                    note(outer, handed_over)

    scopes.__exit__ = leave_and_note
    try:
        yield
    finally:
        scopes.__exit__ = leave
