"""`Rooms`: rooms by name, made when the first member joins and dropped when the last one leaves."""

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
    """A read-only mapping of rooms by name, while they have members.

    When all members have left, a room is forgotten with its history and its positions. The next
    member gets a new `Room` with a new epoch. For a room that must persist, make a `Room` yourself.

    A lookup never makes a room: ``name in rooms``, ``rooms[name]``, ``rooms.get(name)``.

    Args:
        make: Makes the room of a name, such as ``lambda name: Room(name, history=50)``.
        codec: Writes the objects of `publish_json`; see `Codec`. The default uses the standard
            library.
    """

    def __init__(self, make: Callable[[str], Room] = Room, *, codec: Codec = STANDARD) -> None:
        self._make = make
        self._codec = codec
        self._rooms: dict[str, Room] = {}

    def __repr__(self) -> str:
        return f"<Rooms: {len(self._rooms)}>"

    def __eq__(self, other: object) -> bool:
        """Compare by identity: two registries are never equal, even if both are empty."""
        return self is other

    def __hash__(self) -> int:
        """Return a hash by identity."""
        return id(self)

    def __len__(self) -> int:
        """Return the number of rooms that have members."""
        return len(self._rooms)

    def __iter__(self) -> Iterator[str]:
        """Iterate over a snapshot of the names, oldest first."""
        return iter(tuple(self._rooms))

    def __getitem__(self, name: str) -> Room:
        """Return the room of a name; raise `KeyError` if it has no members."""
        return self._rooms[name]

    def joined(
        self, name: str, ws: WebSocket, **options: Unpack[JoinOptions]
    ) -> AbstractContextManager[Member]:
        """Join the room of a name for the duration of a block. As `Room.joined` otherwise.

        Args:
            name: The room, which is made if there is none.
            ws: The connection.
            **options: The arguments of `Room.joined`.
        """
        return _RegistryMembership(self, name, ws, options)

    def memberships(
        self, ws: WebSocket, *, limit: int = DEFAULT_LIMIT, **options: Unpack[JoinOptions]
    ) -> Memberships:
        """Return a block that joins and leaves rooms; see `Memberships`.

        Args:
            ws: The connection.
            limit: The most rooms at a time.
            **options: The arguments of `Room.joined` for all rooms.
        """
        return Memberships(self, ws, limit=limit, **options)

    def enter(self, name: str) -> Room:
        """Return the room of a name, made if there is none. The block of `joined` calls it."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = self._make(name)
        return room

    def leave(self, name: str) -> None:
        """Forget the room of a name if it is empty. The block of `joined` calls it."""
        if not self._rooms[name].size:
            del self._rooms[name]

    def publish(
        self, name: str, message: str | bytes | bytearray | memoryview, *, key: str | None = None
    ) -> int:
        """Publish to the room of a name; as `Room.publish` otherwise.

        Returns:
            The number of members in whose queues the message was put; 0 if there is no such room.
        """
        # Check the message even if there is no such room, so that a wrong one always raises.
        message = payload(message)
        room = self._rooms.get(name)
        return 0 if room is None else room.publish(message, key=key)

    def publish_json(self, name: str, obj: Any, *, key: str | None = None) -> int:
        """Publish an object as JSON text to the room of a name. As `publish` otherwise."""
        return self.publish(name, encoded(self._codec, obj), key=key)


class _RegistryMembership(MembershipBlock):
    """The ``with`` block of one member, which makes the room when it is entered."""

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
