"""`Room`: every message goes to every member, and no member can delay another."""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager
from typing import Any, final

from wsnursery._backend.home import Home
from wsnursery._codec import STANDARD, Codec, encoded
from wsnursery._codes import CloseCode
from wsnursery._engine.payload import payload
from wsnursery._engine.websocket import WebSocket

from ._fanout import Fanout, JoinRequest, RoomStatistics
from ._member import Member, Overflow, check_replay, make_member
from ._membership import Membership
from ._position import Position, Stamp
from ._presence import Presence, Watchers
from ._unshared import number_of_workers, warn_unshared


@final
class Room:
    """A group of connections that all receive the messages published to it.

    A room belongs to the event loop of its members. Its methods never wait. Any task or callback of
    the loop may call them, while members join and leave. From another thread, pass the call to the
    loop::

        anyio.from_thread.run_sync(room.publish, message)

    It exists in one process. `wsnursery.rooms.SharedRooms` has members in several processes.

    Args:
        name: Names the room in logs and in `Rooms`.
        history: The number of messages to keep for members that join later.
        history_bytes: The same limit in bytes.
        stamp: Called once per message with the message and its `Position`. It returns the message
            to send, so that clients can know the positions. `None` sends the message unchanged.
        local: Do not warn if several worker processes serve the application, and each has a room
            of this name with its own members.
        codec: Writes the objects of `publish_json`; see `Codec`. The default uses the standard
            library.

    Raises:
        ValueError: A limit is negative.
    """

    def __init__(
        self,
        name: str,
        *,
        history: int = 0,
        history_bytes: int = 1024 * 1024,
        stamp: Stamp | None = None,
        local: bool = False,
        codec: Codec = STANDARD,
    ) -> None:
        self.name: str = name
        """Names the room in logs and in `Rooms`."""
        self._codec = codec
        self._history = history
        self._fanout = Fanout(name, secrets.token_hex(8), history, history_bytes, stamp)
        self._watchers = Watchers[Member]()
        self._home = Home(
            "a room belongs to the thread and the event loop of its members",
            "run_sync(room.publish, message)",
        )
        self._workers = 1 if local else number_of_workers()

    def __repr__(self) -> str:
        return f"<Room {self.name!r}: {self.size} members, number {self.position.number}>"

    # ------------------------------------------------------------------------------ membership

    def joined(
        self,
        ws: WebSocket,
        *,
        overflow: Overflow = "disconnect",
        code: int = CloseCode.TRY_AGAIN_LATER,
        metadata: Any = None,
        replay: int = 0,
        after: Position | None = None,
    ) -> AbstractContextManager[Member]:
        """Join the room for the duration of a block; ``as`` gives the `Member`.

        Enter it after `WebSocket.accept`, in a task of the connection. The end of the connection
        cancels that task, so the room is always left. Until then, published messages are queued in
        the connection's outbox (``Options.send_buffer``), in order with all other messages.

        Args:
            ws: The connection. It can be in a room only once.
            overflow: What happens if the outbox is full at a publish. ``"disconnect"``: the
                connection is closed and ends as if the peer had gone, with ``anyio.WouldBlock`` as
                the cause. The client can reconnect and ask for the missed messages.
                ``"drop_oldest"``: the oldest queued messages of this room are dropped, for streams
                in which the newest matter. ``"drop_newest"``: the message is not queued, for
                streams whose beginning matters. ``"latest"``: a message replaces a queued one with
                the same key, for states such as prices and positions.
            code: The close code for ``"disconnect"``; 1013 is "try again later".
            metadata: Any object, such as a name, for `members` and `presence`.
            replay: The number of messages of the history to send first.
            after: The position of the last message that the client has seen. The client is sent the
                messages after it, and `Member.missed` counts those that the history no longer has.
                It takes precedence over ``replay``. For a position that is not valid here (of
                another process, or from before a restart), the client gets the ``replay``, and has
                missed at least 1.

        A replay uses at most half of the free space in the outbox, so that the next message fits.
        Older messages are missed. It is queued before the call returns, so between the replay and
        the next message nothing is lost and nothing is sent twice.

        Raises:
            LocalProtocolError: The connection is not accepted yet, or is already in the room, or
                the code may not be sent.
            WebSocketDisconnected, anyio.ClosedResourceError: The connection has ended.
            ValueError: The overflow policy is not one of the four, or ``replay`` is negative, or
                the room has no history to replay.
            RuntimeError: Called in another thread or event loop than that of the other members.

        *Checkpoint*: no, neither entering nor leaving.
        """
        check_replay(replay, self._history)
        member = make_member(self.name, ws, overflow=overflow, code=code, metadata=metadata)
        return Membership(self, member, JoinRequest(replay, after))

    def enter(self, member: Member, request: JoinRequest) -> None:
        """Add a member. The block of `joined` calls it."""
        self._fanout.check_can_join(member)
        self._check_home()
        self._home.settle()
        if self._workers > 1:
            warn_unshared(self.name, self._workers)
        self._watchers.see_joined(member, member)
        self._fanout.join(member, request)

    def leave(self, member: Member) -> None:
        """Remove a member. The block of `joined` calls it."""
        self._fanout.leave(member)
        self._watchers.see_left(member, member)

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of this process, in the order in which they joined."""
        return tuple(self._fanout.members.values())

    @property
    def size(self) -> int:
        """The number of members."""
        return len(self._fanout.members)

    def presence(self) -> AbstractContextManager[Presence[Member]]:
        """Watch the members that join and leave, during a block; ``as`` gives an async iterator.

        No change is missed from the entry of the block on::

            with room.presence() as changes:
                names = {member.metadata for member in room.members}
                async for change in changes:
                    match change:
                        case Joined(who=member): ...
                        case Left(who=member): ...

        *Checkpoint*: no.
        """
        return self._watchers.watching()

    # ------------------------------------------------------------------------------ publishing

    def publish(
        self, message: str | bytes | bytearray | memoryview, *, key: str | None = None
    ) -> int:
        """Queue a message for every member that is in now.

        All members receive the messages of all publishers in the order of the calls.

        Args:
            message: As for `WebSocket.send`.
            key: For members with ``overflow="latest"``: the message replaces a queued one with the
                same key. All messages without a key count as having the same key.

        Returns:
            The number of members in whose queues it was put. Members whose connection has ended, or
            whose queue was full, do not count.

        Raises:
            TypeError, ValueError: As for `WebSocket.send`. Nothing was queued.
            RuntimeError: Called from another thread or event loop. Nothing was queued.

        *Checkpoint*: no. It never waits for a member, and no member can make it raise.
        """
        checked = payload(message)
        self._check_home()
        return self._fanout.deliver(checked, key, self._fanout.next_position())

    def publish_json(self, obj: Any, *, key: str | None = None) -> int:
        """Publish an object as JSON text, encoded once. As `publish` otherwise.

        Args:
            obj: An object that the codec can write.
            key: As for `publish`.
        """
        return self.publish(encoded(self._codec, obj), key=key)

    @property
    def position(self) -> Position:
        """The position of the newest message. The number is 0 before the first message."""
        return self._fanout.position

    def statistics(self) -> RoomStatistics:
        """Return a snapshot of the counters, including members that have left. Not a checkpoint."""
        return self._fanout.statistics()

    def _check_home(self) -> None:
        if self._fanout.members:  # without members, it moves to the loop of the next one
            self._home.check()
