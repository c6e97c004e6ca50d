"""Warnings about the user's tasks that do not stop after the end of the connection."""

from __future__ import annotations

from collections.abc import Sequence

from wsnursery._types import Scope

from .connection_log import ConnectionLog

CALLS_AFTER_END = 1000
"""After this many calls that end because of the end of the connection, the log names the task,
because it catches the exception and calls again and again. A loop over a queue may make a few such
calls before it stops."""


def warn_of_calls(scope: Scope, task: str) -> None:
    """A task has made `CALLS_AFTER_END` calls after the end."""
    ConnectionLog(scope).warning(
        "the task %r has called the WebSocket %d times after its end: leave the loop when a call "
        "raises WebSocketDisconnected",
        task,
        CALLS_AFTER_END,
    )


def warn_of_grace(scope: Scope, tasks: Sequence[str]) -> None:
    """The grace period has ended, and these tasks, if there are any, have not finished."""
    if tasks:
        names = ", ".join(map(repr, tasks))
        ConnectionLog(scope).warning("cancelled when the grace period was over: %s", names)
