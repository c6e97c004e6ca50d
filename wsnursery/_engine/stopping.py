"""Who must stop after the end of a connection. A pure rule: nothing is cancelled here."""

from __future__ import annotations

from enum import IntEnum


class CancelLevel(IntEnum):
    """How many of the user's tasks must stop. It only ever grows."""

    NOBODY = 0
    BYSTANDERS = 1
    """Those that were neither notified of the end nor ever read."""
    NOT_NOTIFIED = 2
    """All that were not notified of the end."""
    EVERYONE = 3
    """The notified ones too: the grace period is over."""


def who_must_stop(
    *, broken: bool, unread: bool, ever_read: bool, may_read: bool, body_finished: bool
) -> CancelLevel:
    """Decide who is cancelled at this moment after the end.

    =====================================================  =======================================
    the end                                                who must stop now
    =====================================================  =======================================
    broken                                                 all that were not notified
    orderly, nothing unread, and no task ever read         all that were not notified
    orderly, every task that read is notified or finished  all that were not notified
    orderly, a task that reads may still go on             nobody; bystanders when the body is over
    orderly, something unread, and no task read it yet     nobody; bystanders when the body is over
    =====================================================  =======================================

    A notified task keeps the rest of the grace period.

    Args:
        broken: The end was broken, not orderly.
        unread: Messages wait to be read.
        ever_read: Some task has asked for a message at least once.
        may_read: Some task that did has neither finished nor been notified of the end.
        body_finished: The body of the block has been left.
    """
    if broken or not (may_read if ever_read else unread):
        return CancelLevel.NOT_NOTIFIED
    return CancelLevel.BYSTANDERS if body_finished else CancelLevel.NOBODY
