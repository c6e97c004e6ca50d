"""Raw calls whose steps are made by hand.

A raw call that ends without waiting costs no more than its own steps. If it waits, the awaited
object is known. So on asyncio a waiting ``receive`` can be interrupted without cancelling its task,
and another task can continue a waiting ``send``. On trio, the checkpoints of a ``send`` that need
not wait are skipped, and a ``send`` that waits continues in the same task.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Coroutine, Generator
from functools import cache
from types import coroutine
from typing import Any

import anyio


class Interrupted(Exception):
    """A waiting raw ``receive`` was interrupted. It has taken no event."""


class _SuspendedCall:
    """The rest of a raw call that waits. Await it once.

    Args:
        steps: The raw call, after the step in which it first waits.
        awaited: The object for which it waits.
    """

    __slots__ = ("_awaited", "_steps")

    def __init__(self, steps: Coroutine[Any, Any, Any], awaited: Any) -> None:
        self._steps = steps
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        steps, awaited = self._steps, self._awaited
        try:
            while True:
                try:
                    answer = yield awaited
                except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is passed to the raw call
                    awaited = self._throw(exc)
                else:
                    awaited = steps.send(answer)
                self._awaited = awaited
        except StopIteration as stop:
            return stop.value

    def _throw(self, exc: BaseException) -> Any:
        """Continue the raw call with an exception. Return the next object for which it waits."""
        return self._steps.throw(exc)


class InterruptibleReceive(_SuspendedCall):
    """The rest of a raw ``receive`` that waits. Another task can interrupt it."""

    __slots__ = ("_interrupted", "_requests", "_task")

    def __init__(self, steps: Coroutine[Any, Any, Any], awaited: Any) -> None:
        super().__init__(steps, awaited)
        self._interrupted = False
        self._task = asyncio.current_task()
        self._requests = 0 if self._task is None else self._task.cancelling()

    def interrupt(self) -> None:
        """Let it raise `Interrupted`, unless it is about to return an event.

        This cancels the future for which the raw call waits, not the task. So ``cancelling()`` of
        the task does not change, and no cancel scope mistakes it for its own cancellation.
        """
        self._interrupted = True
        self._awaited.cancel()

    def _throw(self, exc: BaseException) -> Any:
        if not (self._interrupted and isinstance(exc, asyncio.CancelledError)):
            return super()._throw(exc)
        try:
            self._steps.throw(exc)
        except asyncio.CancelledError:  # noqa: ASYNC103 - our own request, if the check passes
            if self._is_cancelled_too():
                raise
        else:
            self._steps.close()
        raise Interrupted from None

    def _is_cancelled_too(self) -> bool:
        """Return whether a native cancellation came in the same turn, which must not be swallowed.

        A cancellation of an anyio scope is delivered again by anyio.
        """
        return (
            self._task is not None
            and self._task.cancelling() > self._requests
            and anyio.current_effective_deadline() > -math.inf
        )


class SuspendedSend(_SuspendedCall):
    """The rest of a raw ``send`` that has been begun.

    Await it in the task that finishes it: on asyncio any task, on trio the task that began it.
    """

    __slots__ = ()


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
