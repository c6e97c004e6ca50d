"""Draining: taking what a server still delivers after the end of its connection.

A task of Hypercorn waits for room in the application's queue. If nothing takes an event, the task
waits for ever and its file descriptor stays open. So the queue is emptied for a moment after the
end: by the receiver task while the block is being left, or by the timer after the block, where the
queue can be reached without a task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from wsnursery._backend.backend import Backend

from .connection_log import ConnectionLog
from .events import Disconnect, Incoming
from .filling import READ_AT_ONCE
from .transport import Transport

SILENCES = (0.01, 0.001, 0.001)
"""Seconds of three consecutive waits. If no event comes during all of them, the server's queue
counts as empty. A server waits for nothing but room in the queue, so one pass of the event loop
would usually be enough. On a busy machine one pass takes longer than the first wait, and the server
runs only after it, so there are two more."""

DRAIN_SECONDS = 30.0
"""Upper bound for one drain, in seconds. Each event needs one pass of the event loop, which can
take most of a second when a thousand clients leave at the same moment on a busy machine."""


async def drain(transport: Transport, backend: Backend) -> None:
    """Receive and drop events until the server is silent. A flooding peer cannot prolong this."""
    silences, late = 0, backend.now() + DRAIN_SECONDS
    # A server cannot have more events than it got from one read of the socket.
    for _ in range(READ_AT_ONCE):
        event: Incoming | None = None
        with anyio.move_on_after(SILENCES[silences]):
            try:
                event = await transport.receive()
            except Exception as exc:  # noqa: BLE001 - the connection is over
                ConnectionLog(transport.scope).debug("receive() after the end raised %r", exc)
                return
        silences = silences + 1 if event is None else 0
        done = silences == len(SILENCES) or isinstance(event, Disconnect)
        if done or backend.now() >= late:
            return


class Aftercare:
    """Empties a server's queue after the block, without a task.

    Args:
        take: Takes one event from the queue; returns `None` if it is empty.
        backend: Its timer calls.
    """

    def __init__(self, take: Callable[[], Any], backend: Backend) -> None:
        self._take = take
        self._backend = backend
        self._silences = 0
        self._taken = 0
        self._late = backend.now() + DRAIN_SECONDS
        self._look_again()

    def _look(self) -> None:
        before = self._taken
        while self._take() is not None:
            self._taken += 1
        self._silences = self._silences + 1 if self._taken == before else 0
        if self._taken < READ_AT_ONCE and self._backend.now() < self._late:
            self._look_again()

    def _look_again(self) -> None:
        if self._silences < len(SILENCES):
            # Events came, so look again soon: the server puts the next ones as soon as it runs.
            wait = SILENCES[self._silences] if self._silences or not self._taken else 0.0
            self._backend.timer.at(self._backend.now() + wait, self._look)
