"""`Member`: one connection in a room, and what happens if its queue is full.

The queue is the connection's own outbox. So ``Options.send_buffer`` and ``send_buffer_bytes`` limit
what a room can queue for a member, together with all other messages of that connection.

==================  ===============================================================================
``overflow=``       when a message finds the queue full
==================  ===============================================================================
``"disconnect"``    the member is closed (1013), as if the peer had gone: its group is cancelled
``"drop_oldest"``   the oldest queued messages of this room are dropped
``"drop_newest"``   the new message is not queued
``"latest"``        as ``"drop_oldest"``; in addition, a new message always replaces a queued one of
                    the same key, so the queue only fills up with that many different keys
==================  ===============================================================================

With every policy, a member receives a subset of the published messages, in their order.

This is the only module of the rooms that calls the engine of a connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, final, get_args
from weakref import ref

import anyio
import anyio.lowlevel

from wsnursery._codes import CloseCode, check_close
from wsnursery._engine.websocket import WebSocket, connection_of

from ._history import Publication, newest_that_fit
from ._position import Position

if TYPE_CHECKING:
    from wsnursery._engine.connection import Connection
    from wsnursery._engine.shared_sender import SharedSender

Overflow = Literal["disconnect", "drop_oldest", "drop_newest", "latest"]
"""What happens to a member whose queue is full; see `wsnursery.Room.joined`."""

OVERFLOWS: Final[tuple[str, ...]] = get_args(Overflow)

SLOW_REASON: Final = "too slow"
"""The reason of the close that ends a member whose queue is full."""

REPLAY_SHARE: Final = 2
"""A replay uses this fraction (1/n) of the free places in the queue, so that the next message does
not overflow a member that has just joined."""

LAGGING_SHARE: Final = 2
"""A member lags if at least this fraction (1/n) of its queue is in use."""


class JoinOptions(TypedDict, total=False):
    """The keyword arguments of `Room.joined`."""

    overflow: Overflow
    code: int
    metadata: Any
    replay: int
    after: Position | None


@final
class Member:
    """One connection in a room, during a ``with`` block. `Room.joined` makes it.

    Two members are never equal, even if the same person has joined again. A `Member` may be kept
    after the block, because it does not keep the connection alive.
    """

    __slots__ = (
        "__weakref__",
        "_code",
        "_connection",
        "_news",
        "_overflow",
        "_unseen",
        "conflated",
        "connection_token",
        "disconnected",
        "dropped",
        "metadata",
        "position",
        "room",
    )

    def __init__(
        self, connection: Connection, room: str, overflow: Overflow, code: int, metadata: Any
    ) -> None:
        self._connection = ref(connection)
        self.connection_token: object = connection.token
        """Identifies the connection, without keeping it alive."""
        self._overflow = overflow
        self._code = code
        self._unseen = 0
        self._news: anyio.Event | None = None
        self.room: str = room
        """The name of the room."""
        self.metadata: Any = metadata
        """The metadata that was passed to `Room.joined`."""
        self.position: Position | None = None
        """The position of the last message that was queued for this member. Before the first one,
        the position at which it joined. `None` while the member waits for a shared room to
        synchronize."""
        self.dropped: int = 0
        """Messages that were not queued for this member, or were dropped, because its queue was
        full."""
        self.conflated: int = 0
        """Queued messages that were replaced by a newer one with the same key."""
        self.disconnected: bool = False
        """Whether it was closed because its queue was full."""

    def __repr__(self) -> str:
        return f"<Member {self.metadata!r}: {self.dropped} dropped, {self.conflated} conflated>"

    @property
    def lagging(self) -> bool:
        """Whether its queue is at least half full, in messages or in bytes."""
        connection = self._connection()
        if connection is None or connection.lifecycle.over:
            return False
        outbox, options = connection.outgoing.outbox, connection.options
        return (
            len(outbox) * LAGGING_SHARE >= options.send_buffer
            or outbox.bytes * LAGGING_SHARE >= options.send_buffer_bytes
        )

    async def missed(self) -> int:
        """Wait until this member has missed messages. Return the number since the last call.

        Messages are missed if the queue was full, if the history no longer has requested messages,
        and if a shared room has lost some. Call it in a child, which asks the peer to reload its
        state::

            async def report_missed(ws: WebSocket, member: Member) -> None:
                while True:
                    await ws.send_json({"missed": await member.missed()})

        Returns:
            At least 1. A gap of unknown size counts as 1. Conflated messages do not count.

        *Checkpoint*: always. *Cancellation*: loses nothing. If several tasks wait, one of them gets
        the count.
        """
        await anyio.lowlevel.checkpoint()
        while not self._unseen:
            self._news = self._news or anyio.Event()
            await self._news.wait()
        # Do not await anything from here on, because a cancellation would lose the count.
        count, self._unseen = self._unseen, 0
        return count

    # ------------------------------------------------------------------------- calls of the room

    def check_can_join(self) -> None:
        """Raise if a message may not be sent now."""
        connection = self._connection()
        assert connection is not None, "the caller of joined() holds it"
        connection.lifecycle.check_place()
        connection.lifecycle.check_can_send()

    def give(self, publication: Publication, sender: SharedSender) -> bool:
        """Send or queue a message, and return whether that was possible. Never waits or raises.

        Args:
            publication: The message.
            sender: The shared sender of the room.
        """
        connection = self._connection()
        if connection is None or connection.lifecycle.over:
            return False
        outgoing = connection.outgoing
        if self._overflow == "latest":
            self._conflate(connection, publication)
        is_queued = outgoing.deliver(
            publication.message, publication.size, publication, sender
        ) or self._overflowed(connection, publication)
        if is_queued:
            self.position = publication.position
        return is_queued

    def _conflate(self, connection: Connection, publication: Publication) -> None:
        if connection.outgoing.outbox.discard_oldest(publication.supersedes):
            self.conflated += 1

    def replay(self, publications: Sequence[Publication]) -> int:
        """Queue the newest of these messages, as many as fit into half of the free queue.

        Returns:
            The number of queued messages.
        """
        connection = self._connection()
        if connection is None or connection.lifecycle.over:
            return 0
        outbox, options = connection.outgoing.outbox, connection.options
        fitting = newest_that_fit(
            publications,
            max(0, options.send_buffer - len(outbox)) // REPLAY_SHARE,
            max(0, options.send_buffer_bytes - outbox.bytes) // REPLAY_SHARE,
        )
        for publication in fitting:
            if self._overflow == "latest":
                self._conflate(connection, publication)
            # Do not send in place, so that newer states replace older ones.
            connection.outgoing.offer(publication.message, publication.size, publication)
            self.position = publication.position
        return len(fitting)

    def miss(self, count: int) -> None:
        """Count messages that this member does not get, and wake the task in `missed`."""
        self._unseen += count
        if self._news is not None and count:
            self._news.set()
            self._news = None

    # ------------------------------------------------------------------------------- overflow

    def _overflowed(self, connection: Connection, publication: Publication) -> bool:
        connection.observers.buffer_full("send")
        if self._overflow == "disconnect":
            self._disconnect(connection)
            return False
        if self._overflow != "drop_newest" and self._drop_older(connection, publication):
            return True
        self._drop(connection)
        return False

    def _disconnect(self, connection: Connection) -> None:
        self.disconnected = True
        cause = anyio.WouldBlock("the send buffer of this member of a room was full")
        connection.lifecycle.close_for_a_limit(self._code, SLOW_REASON, cause)

    def _drop_older(self, connection: Connection, publication: Publication) -> bool:
        outbox = connection.outgoing.outbox
        if publication.size > connection.options.send_buffer_bytes:
            return False  # it does not fit, even if all others are dropped
        while not outbox.has_room(publication.size):
            if not outbox.discard_oldest(publication.shares_room):
                return False  # the queue is full of messages that the application itself has sent
            self._drop(connection)
        return connection.outgoing.offer(publication.message, publication.size, publication)

    def _drop(self, connection: Connection) -> None:
        connection.observers.dropped("send", 1)
        self.dropped += 1
        self.miss(1)


def make_member(
    room: str,
    ws: WebSocket,
    *,
    overflow: Overflow = "disconnect",
    code: int = CloseCode.TRY_AGAIN_LATER,
    metadata: Any = None,
) -> Member:
    """A member that has not joined yet.

    Raises:
        ValueError: The overflow policy is not one of the four.
        LocalProtocolError: The close code may not be sent.
    """
    if overflow not in OVERFLOWS:
        raise ValueError(f"overflow must be one of {', '.join(OVERFLOWS)}, got {overflow!r}")
    check_close(code, "")
    return Member(connection_of(ws), room, overflow, code, metadata)


def check_replay(replay: int, history: int) -> None:
    """Refuse a replay of messages that a room does not keep."""
    if replay < 0:
        raise ValueError(f"replay must be 0 or more messages, got {replay}")
    if replay and not history:
        raise ValueError(
            f"replay must be 0 in a room that keeps no messages, got {replay}: "
            "make the room with history=..., as in Room(name, history=100)"
        )
