"""`IdleTimeout`: ends a connection whose peer sends nothing for too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from wsnursery._backend.backend import Backend
from wsnursery._codes import CloseCode

from .lifecycle import Lifecycle

if TYPE_CHECKING:
    from wsnursery._backend.timer import Alarm


class IdleTimeout:
    """Ends the connection when the peer has sent no message for a number of seconds.

    The alarm is set again only when it goes off, because setting it for every message would cost
    more than storing the time of the message.

    Args:
        seconds: ``Options.idle_timeout``.
        is_held_up: Returns whether the inbox is full, so that the server is not read. Then the peer
            is not the cause of the silence.
        lifecycle: Notified of the end.
        backend: Its timer calls.
    """

    __slots__ = ("_alarm", "_backend", "_is_held_up", "_lifecycle", "_seconds", "received_at")

    def __init__(
        self,
        seconds: float,
        is_held_up: Callable[[], bool],
        lifecycle: Lifecycle,
        backend: Backend,
    ) -> None:
        self._seconds = seconds
        self._is_held_up = is_held_up
        self._lifecycle = lifecycle
        self._backend = backend
        self.received_at: float = backend.now()
        """When the last message of the peer was received."""
        self._alarm: Alarm = backend.timer.at(self.received_at + seconds, self._look)

    def _look(self) -> None:
        if self._lifecycle.over:
            return
        now = self._backend.now()
        if self._is_held_up():
            self.received_at = now
        late = self.received_at + self._seconds
        if now < late:
            self._alarm = self._backend.timer.at(late, self._look)
            return
        cause = TimeoutError(f"the peer sent no message within {self._seconds} s")
        self._lifecycle.close_for_a_limit(CloseCode.GOING_AWAY, "idle timeout", cause)

    def release(self) -> None:
        """The block has been left."""
        self._alarm.cancel()
