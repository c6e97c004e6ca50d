"""`UserTask`: the body of a block or a child, and how to find the one that the running task is in.

Tasks in groups that a user's task opens count as part of it. They inherit `ENCLOSING`, because
every task inherits the context of the task that starts it.
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
        """The token of its connection."""
        self.number: int = number
        """Its number in the connection; 0 is the body."""
        self.scope: anyio.CancelScope = scope
        """The cancel scope around all of its code, which only the connection cancels."""
        self.reads: bool = False
        """Whether it has ever read."""
        self.task: object = None
        """The task of the backend that runs it, while it runs."""
        self.notifications: int = 0
        """The number of its calls that ended because of the end of the connection."""

    @property
    def notified(self) -> bool:
        """Whether one of its own calls ended because of the end: it may unwind by itself."""
        return self.notifications > 0

    @property
    def cancelled_at(self) -> CancelLevel:
        """The level at which it is cancelled."""
        if self.notified:
            return CancelLevel.ALL
        return CancelLevel.NOT_NOTIFIED if self.reads else CancelLevel.BYSTANDERS

    def notify(self) -> None:
        """Notify it: one of its calls ends because of the end of the connection."""
        self.notifications += 1

    def retract(self) -> None:
        """Retract a notification: the call was cancelled, or the task that made it has ended."""
        self.notifications -= 1


ENCLOSING: ContextVar[tuple[UserTask, ...]] = ContextVar("wsnursery_enclosing", default=())
"""The user's tasks of which the running task is part, one per connection, innermost last."""


def enclosing_task(token: object) -> UserTask | None:
    """The user's task of this connection of which the running task is part, if there is one."""
    enclosing = ENCLOSING.get()
    if enclosing and enclosing[-1].token is token:
        return enclosing[-1]  # nearly always
    for task in reversed(enclosing):
        if task.token is token:
            return task
    return None


def enclosing_tasks() -> tuple[UserTask, ...]:
    """The user's tasks of which the running task is part."""
    return ENCLOSING.get()


def set_enclosing_tasks(tasks: tuple[UserTask, ...]) -> None:
    """Set the user's tasks of the running task, and of the tasks that it starts from now on."""
    ENCLOSING.set(tasks)
