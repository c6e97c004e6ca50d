"""Whose call is it, and who must stop: the application's tasks as the connection sees them.

The body of the block is one participant, every child started with ``start_soon`` or ``start``
another. Tasks in groups that a participant opens count as part of it: they inherit its lineage
through the context, as every task inherits its starter's context.
"""

from __future__ import annotations

from contextvars import ContextVar
from enum import IntEnum

import anyio


class Cut(IntEnum):
    """How many of the application's tasks must stop. It only ever grows."""

    NOBODY = 0
    BYSTANDERS = 1
    """Those that neither were told of the end nor ever read."""
    UNTOLD = 2
    """All that were not told of the end."""
    EVERYONE = 3
    """Those that were told, too: the grace period is over."""


class Participant:
    """The body or a child, with the scope through which the connection can cancel it."""

    __slots__ = ("_told", "number", "origin", "reads", "scope")

    def __init__(self, origin: object, number: int = 0) -> None:
        self.origin: object = origin
        """Which connection it belongs to."""
        self.number: int = number
        """Its number in this connection; 0 is the body."""
        self.scope: anyio.CancelScope = anyio.CancelScope()
        """Around everything this participant does; only the connection cancels it."""
        self.reads: bool = False
        """It has asked for a message at least once."""
        self._told = 0

    @property
    def told(self) -> bool:
        """One of its own calls ended because the connection did: it knows, and may unwind."""
        return self._told > 0

    @property
    def falls_at(self) -> Cut:
        """The cut at which it is cancelled."""
        if self.told:
            return Cut.EVERYONE
        return Cut.UNTOLD if self.reads else Cut.BYSTANDERS

    def tell(self) -> None:
        """One of its calls is ending because the connection did."""
        self._told += 1

    def untell(self) -> None:
        """That call was cancelled before it could say so."""
        self._told -= 1


_lineage: ContextVar[tuple[Participant, ...]] = ContextVar("wsnursery_lineage", default=())
"""The participants that the running task is part of, innermost last, one per connection."""


def current_participant(origin: object) -> Participant | None:
    """The participant of this connection that the running task is part of, if any."""
    lineage = _lineage.get()
    if lineage and lineage[-1].origin is origin:
        return lineage[-1]  # as nearly always
    for participant in reversed(lineage):
        if participant.origin is origin:
            return participant
    return None


def current_lineage() -> tuple[Participant, ...]:
    """What the running task is part of."""
    return _lineage.get()


def set_lineage(lineage: tuple[Participant, ...]) -> None:
    """Say what the running task, and what it starts from now on, is part of."""
    _lineage.set(lineage)


def who_must_stop(
    *, broken: bool, unread: bool, ever_read: bool, may_read: bool, body_finished: bool
) -> Cut:
    """Decide who is cancelled at this moment after the end.

    ==================================================  ==========================================
    the end                                             who must stop now
    ==================================================  ==========================================
    broken                                              the untold
    orderly, nothing unread, and nobody ever read       the untold
    orderly, every task that read is told or finished   the untold
    orderly, a task that reads may still go on          nobody; bystanders once the body finished
    orderly, something unread, and nobody read it yet   nobody; bystanders once the body finished
    ==================================================  ==========================================

    Who was told keeps the rest of the grace period.

    Args:
        broken: The end was broken, not orderly.
        unread: Messages wait to be read.
        ever_read: Some task has asked for a message at least once.
        may_read: Some task that did has neither finished nor been told of the end.
        body_finished: The body of the block has been left.
    """
    if broken or not (may_read if ever_read else unread):
        return Cut.UNTOLD
    return Cut.BYSTANDERS if body_finished else Cut.NOBODY
