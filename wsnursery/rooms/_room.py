"""`Room`: every message to every member, and no member can delay another."""

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
    """A group of connections that all get what is published to it.

    A room belongs to the event loop of its members. Its methods never wait; any task or callback of
    the loop may call them, while members come and go. From another thread, hand the call to the
    loop::

        anyio.from_thread.run_sync(room.publish, message)

    It lives in one process. `wsnursery.rooms.SharedRooms` has the members of several.

    Args:
        name: Names the room in logs and in `Rooms`.
        history: Messages to keep for late joiners.
        history_bytes: The same bound in bytes.
        stamp: Called once per message with the message and its `Position`; returns what the members
            are sent, so that clients know the positions. `None` sends the message as it is.
        local: Do not warn when several worker processes serve the application, and each has a room
            of this name with its own members.
        codec: Writes what `publish_json` is given; see `Codec`. The default is the standard
            library's.

    Raises:
        ValueError: A bound is negative.
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
        """Be in the room while the block lasts; ``as`` gives the `Member`.

        Enter it after `WebSocket.accept`, in a task of the connection, whose cancellation makes
        leaving certain. Until the block is left, whatever is published is queued in the
        connection's own outbox (``Options.send_buffer``), in order with everything else sent there.

        Args:
            ws: The connection. It can be in the same room once.
            overflow: What happens when the outbox is full at a publish. ``"disconnect"``: the
                connection is closed and ends as if the peer had gone, with ``anyio.WouldBlock`` as
                the cause; the client can come back and ask for what it missed. ``"drop_oldest"``:
                the oldest queued messages of this room are dropped, for streams in which the newest
                matter. ``"drop_newest"``: the message is not queued, for streams whose beginning
                matters. ``"latest"``: a message replaces a queued one of the same key, for states
                such as prices and positions.
            code: The close code for ``"disconnect"``; 1013 is "try again later".
            metadata: Anything, for `members` and `presence`: a name, say.
            replay: How many messages of the history to send first.
            after: The position of the last message that the client has seen. It is sent what
                followed, and what the history no longer has is counted by `Member.missed`. It goes
                before ``replay``; a position that means nothing here (of another process, or from
                before a restart) gets the ``replay``, and has missed at least 1.

        A replay takes at most half of what is free in the outbox, so that the next message fits;
        the older ones are missed. It is queued before the call returns: between it and the messages
        that follow nothing is lost and nothing is sent twice.

        Raises:
            LocalProtocolError: The connection is not accepted yet, or is in the room already, or
                the code may not be sent.
            WebSocketDisconnected, anyio.ClosedResourceError: The connection has ended.
            ValueError: The overflow policy is none of the four, or ``replay`` is negative, or the
                room has no history to replay.
            RuntimeError: Called from another thread, or another event loop, than that of the other
                members.

        *Checkpoint*: no, neither entering nor leaving.
        """
        check_replay(replay, self._history)
        member = make_member(self.name, ws, overflow=overflow, code=code, metadata=metadata)
        return Membership(self, member, JoinRequest(replay, after))

    def enter(self, member: Member, request: JoinRequest) -> None:
        """Take a member in; the block of `joined` does."""
        self._fanout.check_can_join(member)
        self._check_home()
        self._home.settle()
        if self._workers > 1:
            warn_unshared(self.name, self._workers)
        self._watchers.see_joined(member, member)
        self._fanout.join(member, request)

    def leave(self, member: Member) -> None:
        """Let a member go; the block of `joined` does."""
        self._fanout.leave(member)
        self._watchers.see_left(member, member)

    @property
    def members(self) -> tuple[Member, ...]:
        """The members, in the order in which they came. Of this process alone."""
        return tuple(self._fanout.members.values())

    @property
    def size(self) -> int:
        """How many members are in."""
        return len(self._fanout.members)

    def presence(self) -> AbstractContextManager[Presence[Member]]:
        """Watch who comes and goes while the block lasts; ``as`` gives an asynchronous iterator.

        Nothing is missed from the moment on in which the block is entered::

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

        All members get the messages of all publishers in the order of the calls.

        Args:
            message: As for `WebSocket.send`.
            key: For members with ``overflow="latest"``: the message replaces a queued one of the
                same key. Messages without one share one.

        Returns:
            In how many members' queues it was put. A member whose connection has ended, or whose
            queue was full, does not count.

        Raises:
            TypeError, ValueError: As for `WebSocket.send`. Nothing was queued.
            RuntimeError: Called from another thread or event loop. Nothing was queued.

        *Checkpoint*: no. It never waits for a member, and no member can make it raise.
        """
        checked = payload(message)
        self._check_home()
        return self._fanout.deliver(checked, key)

    def publish_json(self, obj: Any, *, key: str | None = None) -> int:
        """Publish an object as JSON text, encoded once. As `publish` otherwise.

        Args:
            obj: What the codec can write.
            key: As for `publish`.
        """
        return self.publish(encoded(self._codec, obj), key=key)

    @property
    def position(self) -> Position:
        """The place of the newest message; the number is 0 before the first."""
        return self._fanout.position

    def statistics(self) -> RoomStatistics:
        """A snapshot of the counters, the members that have left included. Not a checkpoint."""
        return self._fanout.statistics()

    def _check_home(self) -> None:
        if self._fanout.members:  # without any, it moves to the loop of the next one
            self._home.check()
