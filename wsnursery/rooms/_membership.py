"""The ``with`` blocks that ``joined`` returns."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Protocol

from wsnursery._errors import LocalProtocolError

from ._fanout import JoinRequest
from ._member import Member


class Enterable(Protocol):
    """A room, or all shared rooms, to which members are added."""

    def enter(self, member: Member, request: JoinRequest) -> None:
        """Add a member."""

    def leave(self, member: Member) -> None:
        """Remove a member."""


class MembershipBlock:
    """A block that warns if it is discarded before it is entered, as coroutines do."""

    __slots__ = ("_entered",)

    def __init__(self) -> None:
        self._entered = False

    def __del__(self) -> None:
        if not self._entered:
            warnings.warn(
                "joined() was called without `with`, so the connection is not in the room: "
                "write `with room.joined(ws):`",
                RuntimeWarning,
                stacklevel=2,
            )


class Membership(MembershipBlock):
    """The block of one member. It is a class, because a generator costs several times as much."""

    __slots__ = ("_member", "_request", "_room")

    def __init__(self, room: Enterable, member: Member, request: JoinRequest) -> None:
        super().__init__()
        self._room = room
        self._member = member
        self._request: JoinRequest | None = request

    def __enter__(self) -> Member:
        self._entered = True
        if self._request is None:
            raise LocalProtocolError(
                "this membership has been entered before: call joined() again for another one"
            )
        self._room.enter(self._member, self._request)
        self._request = None
        return self._member

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._room.leave(self._member)
