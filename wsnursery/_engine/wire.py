"""Which task is inside the server's ``receive`` and ``send``, and what is pending between the two.

The incoming and the outgoing side both use this module, and never import each other.
"""

from __future__ import annotations

from typing import Protocol

BUDGET = 16
"""Consecutive calls that may end without letting other tasks run, on asyncio, and consecutive sends
of a room, on trio. A turn of the loop for every message would cost more than the message. Without
any, a busy connection or room would starve the others."""

CHECKPOINTS_FOR_CAUSE = 5
"""Checkpoints in which the other side may report what a failure means: the receiver may get the
disconnect after a raw send has raised, and a raw send may raise after the receiver has got the
disconnect. On trio their order is random."""


class ReceiveControl(Protocol):
    """The calls that the outgoing side makes on the incoming side."""

    @property
    def is_receiving(self) -> bool:
        """Make sure that the receiver task runs, because it receives the peer's answer."""
        ...

    def look_for_disconnect(self) -> None:
        """Take what the server has delivered and no task has received yet."""
        ...

    def make_room(self) -> None:
        """A raw send waits for the server, so the inbox may hold more meanwhile."""
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
"""Used before there is an incoming side, and after the block."""


class Wire:
    """The state that the two sides of one connection share."""

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
        """Whether a task is inside the raw receive."""
        self.sending: bool = False
        """Whether a raw send is in flight. Set before its first step, because the server may call
        code that uses this connection."""
        self.in_place: bool = False
        """Whether callers may send in place on this server."""
        self.clear: bool = False
        """Whether a raw send in place may begin, unless one is in flight (`sending`): the
        connection is open, the queue is empty, and new raw sends are not held. It stays set during
        a raw send in place, so that it says afterwards whether anything has happened meanwhile."""
        self.held: bool = False
        """Whether new raw sends are held, because a disconnect is being received."""
        self.pending_error: Exception | None = None
        """The exception of a raw send, while it is not yet known what it means."""
        self.budget: int = BUDGET
        """The number of calls that may still end without letting other tasks run."""
        self.control: ReceiveControl = NO_CONTROL
