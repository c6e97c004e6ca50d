"""`Room`: every message to every member, and no member can hold up another."""

# pyright: reportPrivateUsage=false
# A room, its members and those who watch it are one thing in several files.

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import get_ident
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, final

import anyio

from wsnursery._codes import CloseCode, check_close
from wsnursery._engine.inbox import size_of
from wsnursery._engine.websocket import WebSocket, connection_of, json_text, payload
from wsnursery._errors import LocalProtocolError
from wsnursery._types import Message

from ._backplane import Backplane, Link
from ._history import History, Publication
from ._member import OVERFLOWS, Member, Overflow
from ._presence import Presence

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

Stamp = Callable[[Message, int], Message]
"""Puts a message's number into the message; see `Room`."""

Wish: TypeAlias = tuple[int, int | None, str | None]
"""``replay``, ``after`` and ``epoch`` of `Room.joined`."""


@dataclass(frozen=True, slots=True)
class RoomStatistics:
    """A snapshot of a room's counters."""

    members: int
    """Members that are in."""
    lagging: int
    """Those of them whose queue is at least half full, in messages or in bytes."""
    published: int
    """Messages published, those that came over a backplane included."""
    queued: int
    """Messages put into the queues of members: published times members, less the rest."""
    dropped: int
    """Messages that a member was not given because its queue was full."""
    conflated: int
    """Messages that a newer one of the same key has replaced while they waited."""
    disconnected: int
    """Members that were closed because their queue was full."""
    history_used: int
    """Messages in the history."""
    history_used_bytes: int
    """Their payload, in bytes."""


@final
class Room:
    """A group of connections that all get what is published to it.

    A room belongs to the event loop of its members. Its methods never wait; any task of the loop
    may call them, while members come and go. From another thread, hand the call to the loop::

        anyio.from_thread.run_sync(room.publish, message)

    Messages have numbers: 1, 2, 3... in this room object, whose ``epoch`` tells it from any other.
    A number is skipped where the backplane has lost a message.

    Args:
        name: Names the room in a registry and on a backplane.
        history: Messages to keep for late joiners.
        history_bytes: The same bound in bytes.
        stamp: Called once per message with the message and its number; returns what the members are
            sent, so that clients know the numbers. `None` sends the message as it is.

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
    ) -> None:
        if history < 0 or history_bytes < 0:
            raise ValueError("the bounds of a room's history are 0 or more, in messages and bytes")
        self.name = name
        self.epoch: str = secrets.token_hex(8)
        """A random text of this very object: numbers of another epoch mean nothing here."""
        self._stamp = stamp
        self._token = object()
        self._history = History(history, history_bytes)
        self._sequence = 0
        self._published = 0
        self._members: dict[object, Member] = {}
        """By the token of their connection, in the order in which they came."""
        self._watchers: dict[Presence, None] = {}
        self._link: Link | None = None
        self._thread = 0
        """Where the members' event loop runs. It means something while there are members."""
        self._queued = 0
        # What members that have left had counted.
        self._dropped = 0
        self._conflated = 0
        self._disconnected = 0

    def __repr__(self) -> str:
        return f"<Room {self.name!r}: {self.size} members, number {self._sequence}>"

    # ------------------------------------------------------------------------------ membership

    def joined(
        self,
        ws: WebSocket,
        *,
        overflow: Overflow = "disconnect",
        code: int = CloseCode.TRY_AGAIN_LATER,
        metadata: Any = None,
        replay: int = 0,
        after: int | None = None,
        epoch: str | None = None,
    ) -> AbstractContextManager[Member]:
        """Be in the room while the block lasts; ``as`` gives the `Member`.

        Enter it after `WebSocket.accept`, in a task of the connection: its cancellation is what
        makes leaving certain. Until the block is left, whatever is published is queued in the
        connection's own outbox (``Options.send_buffer``), in order with everything else sent there.

        Args:
            ws: The connection. It can be in the same room once.
            overflow: What happens when the outbox is full at a publish. ``"disconnect"``: the
                connection is closed and ends as if the peer had gone, with ``anyio.WouldBlock`` as
                the cause; a client that is told so can come back and ask for what it missed.
                ``"drop_oldest"``: the oldest messages of this room that wait make way, for streams
                in which the new counts. ``"drop_newest"``: the message is not queued, for streams
                whose beginning counts. ``"latest"``: a message replaces a waiting one of the same
                key, for states such as prices and positions.
            code: The close code for ``"disconnect"``; 1013 is "try again later".
            metadata: Anything, for `members` and `presence`: a name, say.
            replay: How many messages of the history to send first.
            after: The last number that the client has seen. It is sent what followed, and what the
                history no longer has is counted by `Member.missed`. Taken before ``replay``.
            epoch: The room's `epoch` when the client saw that number. If it was another one, or the
                number cannot be, the client gets the ``replay``, and has missed at least 1.

        A replay takes at most half of what is free in the outbox, so that the next message finds
        room; the older ones are missed. It is queued before the call returns: between it and the
        messages that follow nothing is lost and nothing comes twice.

        Raises:
            LocalProtocolError: The connection is not accepted yet, or is in the room already, or
                the code may not be sent.
            WebSocketDisconnected, anyio.ClosedResourceError: The connection has ended.
            ValueError: The overflow policy is none of the four, or ``replay`` is negative.
            RuntimeError: Called from another thread than that of the other members.

        *Checkpoint*: no, neither entering nor leaving.
        """
        if overflow not in OVERFLOWS:
            raise ValueError(f"overflow is one of {', '.join(OVERFLOWS)}, not {overflow!r}")
        if replay < 0:
            raise ValueError(f"replay is a number of messages from 0 up, not {replay}")
        check_close(code, "")
        member = Member(connection_of(ws), overflow, code, metadata)
        return _Membership(self, member, (replay, after, epoch))

    def _enter(self, member: Member, replay: int, after: int | None, epoch: str | None) -> None:
        """Take a member in; `joined` does."""
        member._check_can_join()
        self._check_thread()
        if member._origin in self._members:
            raise LocalProtocolError(
                f"this WebSocket is in the room {self.name!r} already: it would get all twice"
            )
        self._thread = get_ident()
        self._members[member._origin] = member
        for watcher in self._watchers:
            watcher._see_joined(member)
        self._catch_up(member, replay, after, epoch)

    def _leave(self, member: Member) -> None:
        """Let a member go; `joined` does."""
        del self._members[member._origin]
        self._dropped += member.dropped
        self._conflated += member.conflated
        self._disconnected += member.disconnected
        for watcher in self._watchers:
            watcher._see_left(member)

    def _catch_up(self, member: Member, replay: int, after: int | None, epoch: str | None) -> None:
        if after is not None and 0 <= after <= self._sequence and epoch in (None, self.epoch):
            wanted = self._history.after(after)
            due = self._sequence - after
        else:
            wanted = self._history.newest(replay)
            # Whoever comes with a position that means nothing here may have missed anything.
            due = len(wanted) + (after is not None)
        member._miss(due - member._replay(wanted))

    @property
    def members(self) -> tuple[Member, ...]:
        """Who is in, in the order in which they came. Of this process alone."""
        return tuple(self._members.values())

    @property
    def size(self) -> int:
        """How many members are in."""
        return len(self._members)

    @contextmanager
    def presence(self) -> Generator[Presence]:
        """Watch who comes and goes while the block lasts; ``as`` gives an asynchronous iterator.

        Nothing is missed from the moment of the call on::

            with room.presence() as changes:
                names = {member.metadata for member in room.members}
                async for change in changes:
                    match change:
                        case Joined(member): ...
                        case Left(member): ...

        *Checkpoint*: no.
        """
        watcher = Presence()
        self._watchers[watcher] = None
        try:
            yield watcher
        finally:
            del self._watchers[watcher]
            watcher._stop()

    # ------------------------------------------------------------------------------ publishing

    def publish(
        self, message: str | bytes | bytearray | memoryview, *, key: str | None = None
    ) -> int:
        """Queue a message for every member that is in now.

        All members get the messages of all publishers in the order of the calls. With a backplane,
        the message also goes to the rooms of the same name elsewhere.

        Args:
            message: As for `WebSocket.send`.
            key: For members with ``overflow="latest"``: the message replaces a waiting one of the
                same key. Messages without one share one.

        Returns:
            In how many members' queues it was put. A member whose connection has ended, or whose
            queue was full, does not count.

        Raises:
            TypeError, ValueError: As for `WebSocket.send`. Nothing was queued.
            RuntimeError: Called from another thread.

        *Checkpoint*: no. It never waits for a member, and none can make it raise.
        """
        checked = payload(message)
        self._check_thread()
        reached = self._fan_out(checked, key)
        if self._link is not None:
            self._link.offer(checked, key)
        return reached

    def publish_json(self, obj: Any, *, key: str | None = None) -> int:
        """Publish an object as JSON text, encoded once. As `publish` otherwise.

        Args:
            obj: As for `WebSocket.send_json`.
            key: As for `publish`.
        """
        return self.publish(json_text(obj), key=key)

    @property
    def sequence(self) -> int:
        """The number of the newest message; 0 before the first."""
        return self._sequence

    def _fan_out(self, message: Message, key: str | None) -> int:
        number = self._sequence + 1
        if self._stamp is not None:
            message = payload(self._stamp(message, number))
        publication = Publication(self._token, number, message, size_of(message), key)
        self._sequence = number
        self._published += 1
        self._history.append(publication)
        reached = [member._give(publication, at_once=True) for member in self.members].count(True)
        self._queued += reached
        return reached

    def _skip(self, count: int) -> None:
        """Messages of other processes never came."""
        self._sequence += count
        for member in self._members.values():
            member._miss(count)

    def _check_thread(self) -> None:
        if self._members and get_ident() != self._thread:
            raise RuntimeError(
                "a room belongs to the thread of its members' event loop: call "
                "anyio.from_thread.run_sync(room.publish, message) from another one"
            )

    # ------------------------------------------------------------------------------- elsewhere

    async def exchange(
        self, backplane: Backplane, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Exchange messages with the rooms of the same name in other processes, until cancelled.

        Start it in a task group that lives as long as the application::

            await group.start(room.exchange, backplane)

        `publish` reaches the own members at once and hands the message to the backplane in the
        background: at most once, in the order of one room's messages. What is lost between the
        processes is counted by `Member.missed` and skips numbers.

        Args:
            backplane: See `wsnursery.rooms.Backplane`.
            task_status: Told when the subscription is in force.

        Raises:
            LocalProtocolError: It is running already.
            ExceptionGroup: What the backplane raised.

        *Checkpoint*: yes. *Cancellation*: ends it; messages not handed over yet are lost.
        """
        if self._link is not None:
            raise LocalProtocolError(
                f"the room {self.name!r} has a backplane already: it takes one"
            )
        self._link = Link(backplane, self.name, self._fan_out, self._skip)
        try:
            async with backplane.subscribe(self.name) as events:
                task_status.started()
                await self._link.run(events)
        finally:
            self._link = None

    # ------------------------------------------------------------------------------ the counts

    def statistics(self) -> RoomStatistics:
        """A snapshot of the counters, the members that have left included. Not a checkpoint."""
        members = self.members
        return RoomStatistics(
            members=len(members),
            lagging=sum(member.lagging for member in members),
            published=self._published,
            queued=self._queued,
            dropped=self._dropped + sum(member.dropped for member in members),
            conflated=self._conflated + sum(member.conflated for member in members),
            disconnected=self._disconnected + sum(member.disconnected for member in members),
            history_used=len(self._history),
            history_used_bytes=self._history.bytes,
        )


class _Membership:
    """The ``with`` block of one member. A class, for a generator would cost several times that."""

    __slots__ = ("_member", "_room", "_wish")

    def __init__(self, room: Room, member: Member, wish: Wish) -> None:
        self._room = room
        self._member = member
        self._wish: Wish | None = wish

    def __enter__(self) -> Member:
        if self._wish is None:
            raise LocalProtocolError("this membership has been entered before: call joined() anew")
        self._room._enter(self._member, *self._wish)
        self._wish = None
        return self._member

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._room._leave(self._member)
