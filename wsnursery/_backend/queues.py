"""The queues in which servers deliver events: trio's and asyncio's side by side.

A cancelled wait takes nothing from either of them: trio and CPython guarantee this.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeAlias, cast

import anyio

RawReceive: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]


def is_trio_channel(owner: object) -> bool:
    """Return whether an object is the receiving end of a trio memory channel."""
    trio = sys.modules.get("trio")
    return trio is not None and type(owner) is trio.MemoryReceiveChannel


def is_asyncio_queue(owner: object) -> bool:
    """Return whether an object is an `asyncio.Queue` whose waiting calls can be interrupted."""
    return type(owner) is asyncio.Queue and hasattr(cast("Any", owner), "_getters")


class Interrupted(Exception):
    """A waiting raw ``receive`` was interrupted. It has taken no event."""


class TrioQueue:
    """A trio memory channel.

    A clone of the server's end shares its buffer. Closing the clone wakes the reader that waits in
    it, and does not affect the server's own end.
    """

    __slots__ = ("_channel", "_clone", "interrupted", "receive")

    needs_aftercare = True

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._clone = channel.clone()
        self.interrupted: type[Exception] = sys.modules["trio"].ClosedResourceError
        self.receive: RawReceive = self._clone.receive

    def take(self) -> Any:
        """What has been delivered and no task has received yet; `None` if nothing."""
        try:
            return self._channel.receive_nowait()
        except sys.modules["trio"].WouldBlock:
            return None

    def close(self) -> None:
        """Stop receiving: a waiting call raises `interrupted`."""
        self._clone.close()


class AsyncioQueue:
    """An `asyncio.Queue`, and the method that waits for it."""

    __slots__ = (
        "_queue",
        "_requests",
        "_task",
        "_waits",
        "is_empty",
        "needs_aftercare",
        "receive",
    )

    interrupted = Interrupted

    def __init__(
        self, receive: RawReceive, queue: asyncio.Queue[Any], *, needs_aftercare: bool
    ) -> None:
        self.receive: RawReceive = receive
        self._queue = queue
        self.is_empty: Callable[[], bool] = queue.empty
        """Whether `receive` would have to wait."""
        self.needs_aftercare: bool = needs_aftercare
        self._waits = False
        """A reader is inside `wait`."""
        self._task: asyncio.Task[Any] | None = None
        """The task in which that reader runs."""
        self._requests: int | None = None
        """How often that task had been cancelled when the reader was interrupted."""

    async def wait(self) -> Any:
        """Receive the next event, unless `close` interrupts the call."""
        self._waits, self._requests, self._task = True, None, asyncio.current_task()
        try:
            return await self.receive()
        except asyncio.CancelledError:  # noqa: ASYNC103 - our own request, if the check passes
            if not self._was_interrupted():
                raise
        finally:
            self._waits = False
            self._task = None
        raise Interrupted

    def _was_interrupted(self) -> bool:
        """Return whether only `close` has ended the call.

        A native cancellation that came in the same turn must not be swallowed. A cancellation of an
        anyio scope is delivered again by anyio.
        """
        requests = self._requests
        is_cancelled_too = (
            requests is not None
            and self._task is not None
            and self._task.cancelling() > requests
            and anyio.current_effective_deadline() > -math.inf
        )
        return requests is not None and not is_cancelled_too

    def take(self) -> Any:
        """What has been delivered and no task has received yet; `None` if nothing."""
        try:
            return self._queue.get_nowait()
        except asyncio.QueueEmpty:
            return None

    def close(self) -> None:
        """Let a waiting call raise `interrupted`, unless it is about to return an event.

        This cancels the future for which the call waits, not the task. So ``cancelling()`` of the
        task does not change, and no cancel scope mistakes it for its own cancellation.
        """
        # Only once, because the receiver task may wait already when the reader has not left yet.
        if not self._waits or self._requests is not None:
            return
        # CPython gives no public access to the future.
        getters: Iterable[asyncio.Future[Any]] = cast("Any", self._queue)._getters
        for waiting in getters:
            if not waiting.done():
                self._requests = 0 if self._task is None else self._task.cancelling()
                waiting.cancel()
