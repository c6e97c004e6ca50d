"""`UserTask`: the body of a block or a child of it, and which of them the running task is part of.

Tasks in groups that a user's task opens count as part of it: they inherit `ENCLOSING` through the
context, as every task inherits its starter's context.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from .stopping import CancelLevel

if TYPE_CHECKING:
    import anyio


class UserTask:
    """The body or a child, with the scope through which the connection can cancel it."""

    __slots__ = ("notifications", "number", "reads", "scope", "task", "token")

    def __init__(self, token: object, scope: anyio.CancelScope, number: int = 0) -> None:
        self.token: object = token
        """Which connection it belongs to."""
        self.number: int = number
        """Its number in this connection; 0 is the body."""
        self.scope: anyio.CancelScope = scope
        """Around everything it does; only the connection cancels it."""
        self.reads: bool = False
        """It has asked for a message at least once."""
        self.task: object = None
        """The backend's task that runs it, while it runs."""
        self.notifications: int = 0
        """How many of its calls have ended because the connection did."""

    @property
    def notified(self) -> bool:
        """One of its own calls ended because the connection did: it knows, and may unwind."""
        return self.notifications > 0

    @property
    def cancelled_at(self) -> CancelLevel:
        """The level at which it is cancelled."""
        if self.notified:
            return CancelLevel.ALL
        return CancelLevel.NOT_NOTIFIED if self.reads else CancelLevel.BYSTANDERS

    def notify(self) -> None:
        """One of its calls is ending because the connection did."""
        self.notifications += 1

    def retract(self) -> None:
        """That call was cancelled before it could say so, or the task that made it has ended."""
        self.notifications -= 1


ENCLOSING: ContextVar[tuple[UserTask, ...]] = ContextVar("wsnursery_enclosing", default=())
"""The user's tasks that the running task is part of, innermost last, one per connection."""


def enclosing_task(token: object) -> UserTask | None:
    """The user's task of this connection that the running task is part of, if any."""
    enclosing = ENCLOSING.get()
    if enclosing and enclosing[-1].token is token:
        return enclosing[-1]  # as nearly always
    for task in reversed(enclosing):
        if task.token is token:
            return task
    return None


def enclosing_tasks() -> tuple[UserTask, ...]:
    """What the running task is part of."""
    return ENCLOSING.get()


def set_enclosing_tasks(tasks: tuple[UserTask, ...]) -> None:
    """Say what the running task, and what it starts from now on, is part of."""
    ENCLOSING.set(tasks)
