"""The queues in which servers deliver events: trio's and asyncio's side by side.

A cancelled wait takes nothing from either of them: trio and CPython guarantee this.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from .steps import Interrupted

RawReceive: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]


def is_trio_channel(owner: object) -> bool:
    """Return whether an object is the receiving end of a trio memory channel."""
    trio = sys.modules.get("trio")
    return trio is not None and type(owner) is trio.MemoryReceiveChannel


def is_asyncio_queue(owner: object) -> bool:
    """Return whether an object is an `asyncio.Queue`."""
    return type(owner) is asyncio.Queue


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

    __slots__ = ("_queue", "needs_aftercare", "receive")

    interrupted = Interrupted

    def __init__(
        self, receive: RawReceive, queue: asyncio.Queue[Any], *, needs_aftercare: bool
    ) -> None:
        self.receive: RawReceive = receive
        self._queue = queue
        self.needs_aftercare: bool = needs_aftercare

    def take(self) -> Any:
        """What has been delivered and no task has received yet; `None` if nothing."""
        try:
            return self._queue.get_nowait()
        except asyncio.QueueEmpty:
            return None

    def close(self) -> None:
        """Do nothing, because each waiting call is interrupted separately."""


EventQueue: TypeAlias = TrioQueue | AsyncioQueue
"""A server's queue of events, from which a reader may receive in place."""
