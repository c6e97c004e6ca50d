"""Calls the hooks of one connection. A hook that fails does not affect the connection.

Every event object is made here, so that the engine needs one line to report an event, and no object
is made when there are no hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from wsnursery import hooks
from wsnursery.hooks import Event, Hook

from .connection_log import ConnectionLog, id_of
from .functions import shown_name

if TYPE_CHECKING:
    from wsnursery._statistics import WebSocketStatistics
    from wsnursery._types import Message, Scope


class Observers:
    """The hooks of one connection.

    Args:
        observers: The hooks, in the order in which they are called.
        scope: The connection's scope.
        now: The event loop's clock.
    """

    __slots__ = ("_hooks", "_now", "_scope", "messages")

    def __init__(self, observers: Sequence[Hook], scope: Scope, now: Callable[[], float]) -> None:
        self._hooks = list(observers)
        self.messages: list[Hook] = [hook for hook in observers if _wants_messages(hook)]
        """The hooks that receive an event for every message. The engine first checks whether there
        are any, because only these events are frequent."""
        self._scope = scope
        self._now = now

    def opened(self) -> None:
        """The block was entered."""
        if self._hooks:
            self._tell(hooks.Opened(*self._stamp(), self._scope))

    def accepted(self, subprotocol: str | None) -> None:
        """The server has taken the accept."""
        if self._hooks:
            self._tell(hooks.Accepted(*self._stamp(), subprotocol))

    def task_started(self, task: int, name: object) -> None:
        """A child was started; ``name`` is its name or the function."""
        if self._hooks:
            self._tell(hooks.TaskStarted(*self._stamp(), task, shown_name(name)))

    def message_received(self, message: Message, size: int) -> None:
        """A message came in."""
        self._tell(hooks.MessageReceived(*self._stamp(), message, size), self.messages)

    def message_sent(self, message: Message, size: int) -> None:
        """The server has taken a message."""
        self._tell(hooks.MessageSent(*self._stamp(), message, size), self.messages)

    def buffer_full(self, buffer: Literal["receive", "send"]) -> None:
        """There was no room for a message."""
        if self._hooks:
            self._tell(hooks.BufferFull(*self._stamp(), buffer))

    def dropped(self, buffer: Literal["receive", "send"], messages: int) -> None:
        """Messages were dropped. The number may be 0; then no event is made."""
        if self._hooks and messages:
            self._tell(hooks.Dropped(*self._stamp(), buffer, messages))

    def send_failed(self, error: BaseException) -> None:
        """The raw send raised."""
        if self._hooks:
            self._tell(hooks.SendFailed(*self._stamp(), error))

    def disconnected(
        self, code: int | None, reason: str, *, abnormal: bool, cause: BaseException | None
    ) -> None:
        """The connection has ended."""
        if self._hooks:
            self._tell(hooks.Disconnected(*self._stamp(), code, reason, abnormal, cause))

    def cancelled(
        self,
        reason: Literal["disconnected", "failed", "grace_period", "outside"],
        tasks: Iterable[int],
    ) -> None:
        """Tasks of the application were cancelled."""
        if self._hooks:
            self._tell(hooks.Cancelled(*self._stamp(), reason, tuple(tasks)))

    def task_ended(self, task: int, error: BaseException | None, *, cancelled: bool) -> None:
        """The body or a child has ended."""
        if self._hooks:
            self._tell(hooks.TaskEnded(*self._stamp(), task, error, cancelled))

    def closed(
        self,
        code: int | None,
        reason: str,
        outcome: BaseException | None,
        statistics: Callable[[], WebSocketStatistics],
    ) -> None:
        """The block was left."""
        if self._hooks:
            self._tell(hooks.Closed(*self._stamp(), code, reason, outcome, statistics()))

    def _stamp(self) -> tuple[UUID, float]:
        return id_of(self._scope), self._now()

    def _tell(self, event: Event, listeners: Sequence[Hook] | None = None) -> None:
        for hook in self._hooks if listeners is None else listeners:
            try:
                hook(event)
            # A hook only observes, so its failure must not end the connection.
            except Exception:  # noqa: BLE001 - it is logged
                # Make new lists, because this loop, or one around it, iterates over an old one.
                self._hooks = [other for other in self._hooks if other is not hook]
                self.messages = [other for other in self.messages if other is not hook]
                ConnectionLog(self._scope).exception(
                    "a hook failed on %s and is not called again for this connection: %r",
                    type(event).__name__,
                    hook,
                )


def _wants_messages(hook: Hook) -> bool:
    return bool(getattr(hook, "messages", True))


UNOBSERVED = Observers((), {}, float)
"""Observes the connections that have no hooks."""
