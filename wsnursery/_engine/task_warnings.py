"""What the log says of the user's tasks that do not stop after the end of the connection."""

from __future__ import annotations

import logging
from collections.abc import Sequence

logger = logging.getLogger("wsnursery")

CALLS_AFTER_END = 1000
"""Calls of one task that end because the connection did, after which the log names the task. It
catches the exception and asks again and again. A loop over a queue may make some of them."""


def warn_of_calls(task: str) -> None:
    """A task has made `CALLS_AFTER_END` calls after the end."""
    logger.warning(
        "the task %r has called a WebSocket %d times after its end: leave the loop when a call "
        "raises WebSocketDisconnected",
        task,
        CALLS_AFTER_END,
    )


def warn_of_grace(tasks: Sequence[str]) -> None:
    """The grace period has ended, and these tasks, if any, had not finished."""
    if tasks:
        names = ", ".join(map(repr, tasks))
        logger.warning("cancelled when the grace period of a WebSocket was over: %s", names)
