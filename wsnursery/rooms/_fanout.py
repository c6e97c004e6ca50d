"""The members of one room, its newest messages, and the delivery of the messages to the members.

It does not depend on the source of the messages: `Room` numbers its own messages, and a shared room
gets them from its engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from wsnursery._engine.payload import payload, size_of
from wsnursery._engine.shared_sender import SharedSender
from wsnursery._errors import LocalProtocolError
from wsnursery._types import Message

from ._history import History, Publication
from ._member import Member
from ._position import Position, Stamp


@dataclass(frozen=True, slots=True)
class RoomStatistics:
    """A snapshot of a room's counters."""

    members: int
    """The number of members."""
    lagging: int
    """The number of members whose queue is at least half full, in messages or in bytes."""
    published: int
    """Published messages, each counted once."""
    queued: int
    """Messages that were put into the queues of members, counted for each member."""
    dropped: int
    """Messages that members did not get because their queue was full, counted for each member."""
    conflated: int
    """Queued messages that were replaced by a newer one with the same key."""
    disconnected: int
    """The number of members that were closed because their queue was full."""
    history_used: int
    """Messages in the history."""
    history_used_bytes: int
    """Their payload, in bytes."""


class JoinRequest(NamedTuple):
    """The part of the history that a new member requests; see `Room.joined`."""

    replay: int
    after: Position | None


class Resumption(NamedTuple):
    """The point at which a client resumes."""

    number: int
    """The number after which it is sent all messages."""
    lost: int
    """The least number of messages that it has seen and that no longer exist."""


class Delivery:
    """The delivery of one message to the members of the moment at which it was published."""

    __slots__ = ("members", "publication", "reached")

    def __init__(self, publication: Publication, members: Iterator[Member]) -> None:
        self.publication = publication
        self.members = members
        """The members that have not got it yet."""
        self.reached = 0


class Fanout:
    """Delivers messages to members.

    Args:
        name: The room's name.
        history: The number of messages to keep for members that join later.
        history_bytes: The same limit in bytes.
        stamp: See `Room`.

    Raises:
        ValueError: A limit is negative.
    """

    __slots__ = (
        "_conflated",
        "_deliveries",
        "_disconnected",
        "_dropped",
        "_history",
        "_published",
        "_queued",
        "_sender",
        "_stamp",
        "_token",
        "ends",
        "members",
        "name",
        "position",
    )

    def __init__(
        self, name: str, epoch: str, history: int, history_bytes: int, stamp: Stamp | None
    ) -> None:
        check_history(history, history_bytes)
        self.name = name
        self.position: Position = Position(epoch, 0)
        """The position of the newest message."""
        self.ends: Mapping[str, int] = {}
        """Older epochs, each with the number up to which its sequence is the same as this one."""
        self.members: dict[object, Member] = {}
        """The members by the token of their connection, in the order in which they joined."""
        self._stamp = stamp
        self._token = object()
        self._history = History(history, history_bytes)
        # A worker may follow many rooms without a message. So an idle room has no queue.
        self._sender: SharedSender | None = None
        self._deliveries: list[Delivery] = []
        self._published = 0
        self._queued = 0
        # The counters of members that have left.
        self._dropped = 0
        self._conflated = 0
        self._disconnected = 0

    # ------------------------------------------------------------------------------ membership

    def check_can_join(self, member: Member) -> None:
        """Refuse a connection that cannot send now, or that is already in the room."""
        member.check_can_join()
        if member.connection_token in self.members:
            raise already_in(self.name)

    def join(self, member: Member, request: JoinRequest) -> None:
        """Add a member, and deliver the requested part of the history."""
        self.members[member.connection_token] = member
        member.position = self.position
        if request.after is None:
            wanted = self._history.newest(request.replay)
            due = len(wanted)
        elif (seen := self._resume_at(request.after)) is None:
            wanted = self._history.newest(request.replay)
            due = len(wanted) + 1  # with such a position, the number of missed messages is unknown
        else:
            wanted = self._history.after(seen.number)
            due = self.position.number - seen.number + seen.lost
        member.miss(due - member.replay(wanted))

    def knows(self, after: Position | None) -> bool:
        """Whether a client with this position can resume here; `None` is one that does not ask."""
        return after is None or self._resume_at(after) is not None

    def _resume_at(self, after: Position) -> Resumption | None:
        """Return where a client with this position resumes, or `None` if it is not valid here."""
        if after.epoch == self.position.epoch:
            return Resumption(after.number, 0) if after.number <= self.position.number else None
        end = self.ends.get(after.epoch)
        if end is None:
            return None
        # Messages that the client saw after the end of that epoch are not in this sequence.
        return Resumption(min(after.number, end), int(after.number > end))

    def leave(self, member: Member) -> None:
        """Remove a member."""
        del self.members[member.connection_token]
        self._dropped += member.dropped
        self._conflated += member.conflated
        self._disconnected += member.disconnected

    # ------------------------------------------------------------------------------ delivering

    def next_position(self) -> Position:
        """Return the position of the next message."""
        return Position(self.position.epoch, self.position.number + 1)

    def deliver(self, message: Message, key: str | None, position: Position) -> int:
        """Queue the next message for every current member. Return the number of queues.

        A hook of a member's connection may publish to this room in the middle of a delivery. The
        nested call finishes the interrupted delivery first, so that every member gets the messages
        in the order of the calls.

        Raises:
            TypeError, ValueError: The stamp did not return a message. Nothing was queued.
            Exception: The stamp raised it. Nothing was queued.
        """
        before = self.position
        if self._stamp is not None:
            message = payload(self._stamp(message, position))
            if self.position is not before:
                raise LocalProtocolError(
                    f"the stamp of the room {self.name!r} has published to this very room: a stamp "
                    "must only return the message"
                )
        publication = Publication(self._token, position, message, size_of(message), key)
        self.position = position
        self._published += 1
        self._history.append(publication)
        delivery = Delivery(publication, iter(tuple(self.members.values())))
        self._deliveries.append(delivery)
        sender = self._sender = self._sender or SharedSender()
        while self._deliveries:
            self._finish(self._deliveries[0], sender)
        return delivery.reached

    def _finish(self, delivery: Delivery, sender: SharedSender) -> None:
        for member in delivery.members:
            if member.give(delivery.publication, sender):
                delivery.reached += 1
                self._queued += 1
        # A nested call may have finished and removed it.
        if self._deliveries and self._deliveries[0] is delivery:
            del self._deliveries[0]

    def skip(self, count: int) -> None:
        """Continue after a number of lost messages, and count them for every member."""
        self.position = Position(self.position.epoch, self.position.number + count)
        self.miss(count)

    def miss(self, count: int) -> None:
        """Count messages that no member gets."""
        for member in self.members.values():
            member.miss(count)

    def rewind(self, number: int) -> None:
        """Forget the messages with a higher number."""
        self._history.rewind(number)
        self.position = Position(self.position.epoch, number)

    def rename(self, epoch: str) -> None:
        """Continue in another epoch with the same number."""
        self.position = Position(epoch, self.position.number)

    def restart(self, position: Position) -> None:
        """Continue at another position, with an empty history."""
        self._history.clear()
        self.position = position

    # ------------------------------------------------------------------------------ the counts

    def statistics(self) -> RoomStatistics:
        """Return a snapshot of the counters, including members that have left."""
        members = self.members.values()
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


def check_history(history: int, history_bytes: int) -> None:
    """Refuse a history of a negative size."""
    if history < 0 or history_bytes < 0:
        raise ValueError(
            "history and history_bytes must be 0 or more, in messages and bytes, got "
            f"{history} and {history_bytes}"
        )


def already_in(room: str) -> LocalProtocolError:
    """The error for a connection that joins a room twice."""
    return LocalProtocolError(
        f"this WebSocket is already in the room {room!r} and would get each message twice: join "
        "once per connection"
    )
