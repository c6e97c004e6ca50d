"""`Rooms`: rooms by name, made when the first member comes and dropped when the last one leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Unpack, final

from wsnursery._codec import STANDARD, Codec, encoded
from wsnursery._engine.payload import payload
from wsnursery._engine.websocket import WebSocket

from ._member import JoinOptions, Member
from ._membership import MembershipBlock
from ._memberships import DEFAULT_LIMIT, Memberships
from ._room import Room


@final
class Rooms(Mapping[str, Room]):
    """Rooms by name, for as long as they have members: a read-only mapping.

    A room that all members have left is forgotten, with its history and its positions; the next
    member finds a new `Room` with a new epoch. Make a `Room` yourself for one that is to stay.

    Looking a room up never makes one: ``name in rooms``, ``rooms[name]``, ``rooms.get(name)``.

    Args:
        make: Makes a room of a name, such as ``lambda name: Room(name, history=50)``.
        codec: Writes what `publish_json` is given; see `Codec`. The default is the standard
            library's.
    """

    def __init__(self, make: Callable[[str], Room] = Room, *, codec: Codec = STANDARD) -> None:
        self._make = make
        self._codec = codec
        self._rooms: dict[str, Room] = {}

    def __repr__(self) -> str:
        return f"<Rooms: {len(self._rooms)}>"

    def __eq__(self, other: object) -> bool:
        """Two registries are never equal, not even when both are empty."""
        return self is other

    def __hash__(self) -> int:
        """That of this very registry."""
        return id(self)

    def __len__(self) -> int:
        """How many rooms have members."""
        return len(self._rooms)

    def __iter__(self) -> Iterator[str]:
        """The names of the rooms, oldest first; a snapshot."""
        return iter(tuple(self._rooms))

    def __getitem__(self, name: str) -> Room:
        """The room of a name, or a `KeyError` if it has no members."""
        return self._rooms[name]

    def joined(
        self, name: str, ws: WebSocket, **options: Unpack[JoinOptions]
    ) -> AbstractContextManager[Member]:
        """Be in the room of a name while the block lasts. As `Room.joined` otherwise.

        Args:
            name: The room; it is made if there is none.
            ws: The connection.
            **options: The arguments of `Room.joined`.
        """
        return _RegistryMembership(self, name, ws, options)

    def memberships(
        self, ws: WebSocket, *, limit: int = DEFAULT_LIMIT, **options: Unpack[JoinOptions]
    ) -> Memberships:
        """Join and leave rooms as the client asks; see `Memberships`.

        Args:
            ws: The connection.
            limit: Rooms that it may be in at a time.
            **options: The arguments of `Room.joined` for all of them.
        """
        return Memberships(self, ws, limit=limit, **options)

    def enter(self, name: str) -> Room:
        """The room of a name, made if there is none; the block of `joined` calls it."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = self._make(name)
        return room

    def leave(self, name: str) -> None:
        """Forget the room of a name if it is empty; the block of `joined` calls it."""
        if not self._rooms[name].size:
            del self._rooms[name]

    def publish(
        self, name: str, message: str | bytes | bytearray | memoryview, *, key: str | None = None
    ) -> int:
        """Publish to the room of a name; as `Room.publish` otherwise.

        Returns:
            In how many members' queues the message was put, 0 if there is no such room.
        """
        message = payload(message)
        room = self._rooms.get(name)
        return 0 if room is None else room.publish(message, key=key)

    def publish_json(self, name: str, obj: Any, *, key: str | None = None) -> int:
        """Publish an object as JSON text to the room of a name; as `publish` otherwise."""
        return self.publish(name, encoded(self._codec, obj), key=key)


class _RegistryMembership(MembershipBlock):
    """The ``with`` block of one member; it makes its room when it is entered."""

    __slots__ = ("_inner", "_name", "_options", "_rooms", "_ws")

    def __init__(self, rooms: Rooms, name: str, ws: WebSocket, options: JoinOptions) -> None:
        super().__init__()
        self._rooms = rooms
        self._name = name
        self._ws = ws
        self._options = options

    def __enter__(self) -> Member:
        self._entered = True
        room = self._rooms.enter(self._name)
        try:
            self._inner = room.joined(self._ws, **self._options)
            return self._inner.__enter__()
        except BaseException:
            self._rooms.leave(self._name)
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inner.__exit__(exc_type, exc, traceback)
        self._rooms.leave(self._name)
