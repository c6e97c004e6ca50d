"""Raw sends whose steps are made by hand.

A raw ``send`` that ends without waiting costs no more than its own steps. If it waits, the awaited
object is known. So on asyncio another task can continue it. On trio, the checkpoints of a call that
need not wait are skipped, and one that waits continues in the same task.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Generator
from functools import cache
from types import coroutine
from typing import Any


class SuspendedSend:
    """The rest of a raw ``send`` that has been begun and waits. Await it once.

    Await it in the task that finishes it: on asyncio any task, on trio the task that began it.

    Args:
        steps: The raw call, after the step in which it first waits.
        awaited: The object for which it waits.
    """

    __slots__ = ("_awaited", "_steps")

    def __init__(self, steps: Coroutine[Any, Any, None], awaited: Any) -> None:
        self._steps = steps
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, None]:
        steps, awaited = self._steps, self._awaited
        try:
            while True:
                try:
                    answer = yield awaited
                except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is passed to the raw call
                    awaited = steps.throw(exc)
                else:
                    awaited = steps.send(answer)
        except StopIteration:
            return


MOST_CHECKPOINTS = 16
"""At most this many checkpoints are skipped in one raw call. Hypercorn's ``send`` has two. A call
that polls must let other tasks run."""


@coroutine
def past_checkpoints(call: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    """Await a raw call on trio, and skip its checkpoints until it has to wait.

    trio's documentation allows its scheduler to continue with the same task at a checkpoint. This
    function does so: it recognises the marker with which a checkpoint yields to the scheduler. If a
    release of trio changes the marker, the raw call waits at its checkpoints and is only slower.
    """
    try:
        awaited = call.send(None)
        for _ in range(MOST_CHECKPOINTS):
            if awaited is not checkpoint_marker():
                break
            awaited = call.send(_GO_ON)
    except StopIteration:
        return
    yield from SuspendedSend(call, awaited).__await__()


class _GoOn:
    """The value that trio's scheduler sends into a task after a checkpoint."""

    def unwrap(self) -> None:
        """Return `None`, the outcome of the checkpoint."""


_GO_ON = _GoOn()


@cache
def checkpoint_marker() -> object:
    """Return the marker that a checkpoint of trio yields to the scheduler.

    If trio does not accept the answer, return an object that no call yields.
    """
    steps: Coroutine[Any, Any, Any] = sys.modules["trio"].lowlevel.cancel_shielded_checkpoint()
    marker: object = steps.send(None)
    try:
        steps.send(_GO_ON)
    except StopIteration:
        return marker
    except Exception:  # noqa: BLE001 - another release of trio, which expects another answer
        return object()
    steps.close()
    return object()
