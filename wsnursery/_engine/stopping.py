"""The rule for which tasks must stop after the end of a connection. It has no side effects."""

from __future__ import annotations

from enum import IntEnum


class CancelLevel(IntEnum):
    """Which of the user's tasks must stop. The level never decreases."""

    NONE = 0
    BYSTANDERS = 1
    """The tasks that are not notified and have never read."""
    NOT_NOTIFIED = 2
    """All tasks that are not notified."""
    ALL = 3
    """All tasks, including notified ones, because the grace period is over."""


def who_must_stop(
    *, abnormal: bool, unread: bool, ever_read: bool, may_read: bool, body_finished: bool
) -> CancelLevel:
    """Decide which tasks must be cancelled at this moment after the end.

    =====================================================  =======================================
    the end                                                tasks that must stop now
    =====================================================  =======================================
    abnormal                                               all that are not notified
    clean, nothing unread, and no task ever read           all that are not notified
    clean, every task that read is notified or finished    all that are not notified
    clean, a task that reads may still continue            none; bystanders when the body is over
    clean, something unread, and no task read it yet       none; bystanders when the body is over
    =====================================================  =======================================

    A notified task keeps the rest of the grace period.

    Args:
        abnormal: Whether the end was abnormal.
        unread: Whether messages wait to be read.
        ever_read: Whether any task has ever read.
        may_read: Whether a task that has read is neither finished nor notified.
        body_finished: Whether the body of the block has finished.
    """
    if abnormal or not (may_read if ever_read else unread):
        return CancelLevel.NOT_NOTIFIED
    return CancelLevel.BYSTANDERS if body_finished else CancelLevel.NONE
