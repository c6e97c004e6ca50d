"""`Memberships`: the rooms that one connection joins and leaves at its client's request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Final, Protocol, Unpack, final

from wsnursery._engine.websocket import WebSocket
from wsnursery._errors import LocalProtocolError

from ._member import JoinOptions, Member, Overflow
from ._position import Position

DEFAULT_LIMIT: Final = 100
"""The most rooms of one connection at a time. There is a limit, because clients choose the
rooms."""


class Joinable(Protocol):
    """`Rooms` or `SharedRooms`."""

    def joined(
        self,
        name: str,
        ws: WebSocket,
        *,
        overflow: Overflow = ...,
        code: int = ...,
        metadata: Any = ...,
        replay: int = ...,
        after: Position | None = ...,
    ) -> AbstractContextManager[Member]:
        """Join a room for the duration of a block."""
        ...


class TooManyRooms(ValueError):
    """The connection is already in as many rooms as it may be in. Nothing has changed."""


@final
class Memberships:
    """The rooms of a connection, which joins and leaves them at the request of its client.

    Enter it as a block after `WebSocket.accept`. The end of the block leaves all rooms::

        with rooms.memberships(ws, overflow="latest") as subscribed:
            async for message in ws:
                request = json.loads(message)
                if request["do"] == "subscribe":
                    subscribed.join(request["room"])
                else:
                    subscribed.leave(request["room"])

    Check the names before you join: a client can ask for any text.

    Args:
        rooms: The `Rooms` or `SharedRooms`.
        ws: The connection.
        limit: The most rooms at a time.
        **options: The arguments of `Room.joined` for all rooms.
    """

    def __init__(
        self,
        rooms: Joinable,
        ws: WebSocket,
        *,
        limit: int = DEFAULT_LIMIT,
        **options: Unpack[JoinOptions],
    ) -> None:
        self._rooms = rooms
        self._ws = ws
        self._limit = limit
        self._options = options
        self._blocks: dict[str, tuple[ExitStack, Member]] | None = None

    def __repr__(self) -> str:
        return f"<Memberships: {len(self)} of at most {self._limit} rooms>"

    def __len__(self) -> int:
        """Return the number of rooms of the connection."""
        return len(self._blocks or ())

    def __iter__(self) -> Iterator[Member]:
        """Iterate over a snapshot of its members, oldest first; `Member.room` is the name."""
        return iter([member for _, member in (self._blocks or {}).values()])

    def __contains__(self, name: object) -> bool:
        """Return whether the connection is in the room of this name."""
        return name in (self._blocks or ())

    def join(self, name: str, **options: Unpack[JoinOptions]) -> Member:
        """Join a room. If the connection is already in it, nothing changes.

        Args:
            name: The room.
            **options: The arguments of `Room.joined` for this room.

        Raises:
            TooManyRooms: The connection is in ``limit`` rooms.
            LocalProtocolError: Outside of the ``with`` block.
            LocalProtocolError, WebSocketDisconnected, ValueError: As for `Room.joined`.

        *Checkpoint*: no.
        """
        blocks = self._entered()
        if name in blocks:
            return blocks[name][1]
        if len(blocks) >= self._limit:
            raise TooManyRooms(
                f"this connection may be in {self._limit} rooms at a time: leave one first, or "
                "raise limit="
            )
        # Each room has its own stack, because rooms are left in any order and not as nested blocks.
        block = ExitStack()
        joined = self._rooms.joined(name, self._ws, **(self._options | options))
        member = block.enter_context(joined)
        blocks[name] = block, member
        return member

    def leave(self, name: str) -> bool:
        """Leave a room. Return whether the connection was in it. Not a checkpoint.

        Messages of the room that are already in the connection's queue are still sent.
        """
        block, _ = self._entered().pop(name, (None, None))
        if block is not None:
            block.close()
        return block is not None

    def __enter__(self) -> Memberships:
        """Enter the block, without any room."""
        if self._blocks is not None:
            raise LocalProtocolError(
                "these memberships are already entered: call memberships() again for another block"
            )
        self._blocks = {}
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave all rooms."""
        blocks = self._entered()
        while blocks:
            # The newest one first, as with nested `with` blocks.
            self.leave(next(reversed(blocks)))
        self._blocks = None

    def _entered(self) -> dict[str, tuple[ExitStack, Member]]:
        if self._blocks is None:
            raise LocalProtocolError(
                "these memberships have not been entered: write `with rooms.memberships(ws) as "
                "subscribed:`"
            )
        return self._blocks
