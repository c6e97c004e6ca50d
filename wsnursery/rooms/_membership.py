"""The ``with`` blocks that ``joined`` gives."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Protocol

from wsnursery._errors import LocalProtocolError

from ._fanout import JoinRequest
from ._member import Member


class Enterable(Protocol):
    """What takes members in: a room, or all shared rooms."""

    def enter(self, member: Member, request: JoinRequest) -> None:
        """Take a member in."""

    def leave(self, member: Member) -> None:
        """Let a member go."""


class MembershipBlock:
    """A block that warns when it is thrown away unentered, as Python does of coroutines."""

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
    """The block of one member. A class: a generator would cost several times as much."""

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
