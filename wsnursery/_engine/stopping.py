"""Who must stop after the end of a connection. A pure rule: nothing is cancelled here."""

from __future__ import annotations

from enum import IntEnum


class CancelLevel(IntEnum):
    """How many of the user's tasks must stop. It only ever grows."""

    NONE = 0
    BYSTANDERS = 1
    """Those that were neither notified of the end nor ever read."""
    NOT_NOTIFIED = 2
    """All that were not notified of the end."""
    ALL = 3
    """The notified ones too: the grace period is over."""


def who_must_stop(
    *, abnormal: bool, unread: bool, ever_read: bool, may_read: bool, body_finished: bool
) -> CancelLevel:
    """Decide who is cancelled at this moment after the end.

    =====================================================  =======================================
    the end                                                who must stop now
    =====================================================  =======================================
    abnormal                                               all that were not notified
    clean, nothing unread, and no task ever read           all that were not notified
    clean, every task that read is notified or finished    all that were not notified
    clean, a task that reads may still go on               none; bystanders when the body is over
    clean, something unread, and no task read it yet       none; bystanders when the body is over
    =====================================================  =======================================

    A notified task keeps the rest of the grace period.

    Args:
        abnormal: The end was abnormal, not clean.
        unread: Messages wait to be read.
        ever_read: Some task has asked for a message at least once.
        may_read: Some task that did has neither finished nor been notified of the end.
        body_finished: The body of the block has been left.
    """
    if abnormal or not (may_read if ever_read else unread):
        return CancelLevel.NOT_NOTIFIED
    return CancelLevel.BYSTANDERS if body_finished else CancelLevel.NONE
