"""`Rooms`: rooms by name, made when the first member comes and dropped when the last one leaves."""

# pyright: reportPrivateUsage=false
# The rooms and the `with` block of a membership are one thing.

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack, final

import anyio

from wsnursery._engine.websocket import WebSocket, json_text, payload
from wsnursery._errors import LocalProtocolError

from ._backplane import Backplane
from ._member import JoinOptions, Member
from ._room import Room

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus


@final
class Rooms:
    """Rooms by name, for as long as somebody is in them.

    A room that everybody has left is forgotten, with its history and its numbers; who comes later
    finds a new `Room` with a new epoch. Make a `Room` yourself for one that is to stay.

    Args:
        make: Makes a room of a name, such as ``lambda name: Room(name, history=50)``.
    """

    def __init__(self, make: Callable[[str], Room] = Room) -> None:
        self._make = make
        self._rooms: dict[str, Room] = {}
        self._exchanges: _Exchanges | None = None

    def __repr__(self) -> str:
        return f"<Rooms: {len(self._rooms)}>"

    def __len__(self) -> int:
        """How many rooms there are."""
        return len(self._rooms)

    def __iter__(self) -> Iterator[Room]:
        """The rooms, oldest first; a snapshot."""
        return iter(tuple(self._rooms.values()))

    def get(self, name: str) -> Room | None:
        """The room of a name, or `None` if nobody is in it."""
        return self._rooms.get(name)

    def joined(
        self, name: str, ws: WebSocket, **options: Unpack[JoinOptions]
    ) -> AbstractContextManager[Member]:
        """Be in the room of a name while the block lasts. As `Room.joined` otherwise.

        Args:
            name: The room; it is made if there is none.
            ws: The connection.
            **options: The arguments of `Room.joined`.
        """
        return _Membership(self, name, ws, options)

    def _enter(self, name: str) -> Room:
        """The room of a name, made if there is none; `joined` calls it."""
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = self._make(name)
            if self._exchanges is not None:
                self._exchanges.start(room)
        return room

    def _leave(self, name: str) -> None:
        """Forget the room of a name if it is empty; `joined` calls it."""
        room = self._rooms[name]
        if not room.size:
            del self._rooms[name]
            if self._exchanges is not None:
                self._exchanges.stop(room)

    def publish(
        self, name: str, message: str | bytes | bytearray | memoryview, *, key: str | None = None
    ) -> int:
        """Publish to the room of a name; as `Room.publish` otherwise.

        Returns:
            In how many members' queues the message was put, 0 if there is no such room. With a
            backplane, it is not sent elsewhere then.
        """
        message = payload(message)
        room = self._rooms.get(name)
        return 0 if room is None else room.publish(message, key=key)

    def publish_json(self, name: str, obj: Any, *, key: str | None = None) -> int:
        """Publish an object as JSON text to the room of a name; as `publish` otherwise."""
        return self.publish(name, json_text(obj), key=key)

    async def exchange(
        self, backplane: Backplane, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Connect every room that is or comes to a backplane, until cancelled.

        As `Room.exchange` otherwise. What is published elsewhere in the moment in which a room is
        made here may not reach it.

        Raises:
            LocalProtocolError: It is running already.
            ExceptionGroup: What the backplane raised.

        *Checkpoint*: yes. *Cancellation*: ends it; the rooms go on without a backplane.
        """
        if self._exchanges is not None:
            raise LocalProtocolError("these rooms have a backplane already: they take one")
        async with anyio.create_task_group() as group:
            self._exchanges = _Exchanges(group, backplane)
            try:
                for room in self:
                    self._exchanges.start(room)
                task_status.started()
                await anyio.sleep_forever()
            finally:
                self._exchanges = None


class _Membership:
    """The ``with`` block of one member; see the class of this name in `_room`."""

    __slots__ = ("_inner", "_name", "_options", "_rooms", "_ws")

    def __init__(self, rooms: Rooms, name: str, ws: WebSocket, options: JoinOptions) -> None:
        self._rooms = rooms
        self._name = name
        self._ws = ws
        self._options = options

    def __enter__(self) -> Member:
        room = self._rooms._enter(self._name)
        try:
            self._inner = room.joined(self._ws, **self._options)
            return self._inner.__enter__()
        except BaseException:
            self._rooms._leave(self._name)
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inner.__exit__(exc_type, exc, traceback)
        self._rooms._leave(self._name)


class _Exchanges:
    """The tasks that connect rooms to a backplane."""

    def __init__(self, group: TaskGroup, backplane: Backplane) -> None:
        self._group = group
        self._backplane = backplane
        self._scopes: dict[Room, anyio.CancelScope] = {}

    def start(self, room: Room) -> None:
        self._scopes[room] = anyio.CancelScope()
        self._group.start_soon(self._run, room, self._scopes[room], name=f"room {room.name!r}")

    def stop(self, room: Room) -> None:
        self._scopes.pop(room).cancel()

    async def _run(self, room: Room, scope: anyio.CancelScope) -> None:
        with scope:
            await room.exchange(self._backplane)
