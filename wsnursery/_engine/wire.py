"""Which task is inside the server's ``receive`` and ``send``, and what is pending between the two.

The incoming and the outgoing side both look here, and never at one another.
"""

from __future__ import annotations

from typing import Protocol

BUDGET = 16
"""Calls in a row that may end without letting other tasks run, on asyncio. A turn of the loop for
every message would cost more than the message; without any, a busy connection would starve the
others."""

CHECKPOINTS_FOR_CAUSE = 5
"""Checkpoints in which the other side may say what a failure means: the receiver may hear of a
disconnect when a raw send has raised, and a raw send may raise when the receiver has heard of a
disconnect. On trio, their order is chance."""


class ReceiveControl(Protocol):
    """What the outgoing side asks of the incoming one."""

    @property
    def is_receiving(self) -> bool:
        """The receiver task is there: it will hear what the peer answers."""
        ...

    def look_for_disconnect(self) -> None:
        """Take what the server has delivered and no task has received yet."""
        ...

    def make_room(self) -> None:
        """A raw send waits for the server: the inbox may hold more meanwhile."""
        ...

    def stop(self) -> None:
        """Cancel the receiver task."""
        ...


class _NoControl:
    is_receiving = False

    def look_for_disconnect(self) -> None:
        pass

    make_room = stop = look_for_disconnect


NO_CONTROL: ReceiveControl = _NoControl()
"""Before there is an incoming side, and after the block."""


class Wire:
    """What the two sides of one connection must know of one another."""

    __slots__ = (
        "budget",
        "clear",
        "control",
        "held",
        "in_place",
        "pending_error",
        "receiving",
        "sending",
    )

    def __init__(self) -> None:
        self.receiving: bool = False
        """A task is inside the raw receive."""
        self.sending: bool = False
        """A raw send is under way: from before its first step, because what it does may lead back
        to this very connection."""
        self.in_place: bool = False
        """The server allows that callers send for themselves."""
        self.clear: bool = False
        """Nothing is in the way of a raw send in place: the connection is open, nothing is queued,
        none is under way, and none is held."""
        self.held: bool = False
        """A disconnect is being heard: no new raw send may begin."""
        self.pending_error: Exception | None = None
        """What a raw send has just raised, as long as it is not clear what it means."""
        self.budget: int = BUDGET
        """Calls that may still end without letting others run."""
        self.control: ReceiveControl = NO_CONTROL
