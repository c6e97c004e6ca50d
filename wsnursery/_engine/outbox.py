"""The outbox: what the application sends, until the server takes it. No call here waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from .events import Close, Outgoing, Reject

if TYPE_CHECKING:
    from wsnursery._backend.wakeup import Wakeup

    from .user_task import UserTask


class SendTicket:
    """One event on its way to the server, and the call that may be waiting for it.

    Without an event it is a flush marker, which is done when all events before it are done.
    """

    __slots__ = (
        "caller",
        "done",
        "error",
        "event",
        "is_message",
        "lost",
        "size",
        "tag",
        "waiter",
        "withdrawn",
    )

    def __init__(self, event: Outgoing | None, size: int = 0, tag: object = None) -> None:
        self.event: Outgoing | None = event
        self.size: int = size
        self.is_message: bool = isinstance(event, (str, bytes))
        """Whether this is a message, which can be lost, and not a handshake, close or marker."""
        self.tag: object = tag
        """A room finds its messages by this; `None` for everything else."""
        self.done: bool = False
        """Whether the outcome is known."""
        self.lost: bool = False
        """Whether the connection ended before the server had taken it."""
        self.withdrawn: bool = False
        """Whether its call was cancelled before the raw send began."""
        self.error: BaseException | None = None
        """The exception of the raw send of this event."""
        self.waiter: Wakeup | None = None
        """Wakes the call that waits for it; `None` if no call does."""
        self.caller: UserTask | None = None
        """The user's task whose call waits for it; `None` if no call does."""

    def finish(self, error: BaseException | None = None) -> None:
        """The server has taken or refused it: wake the waiting call."""
        self.done = True
        self.error = error
        if self.waiter is not None:
            self.waiter.wake()

    def lose(self) -> None:
        """The connection has ended: wake the waiting call."""
        self.lost = True
        self.finish()


_NO_TICKETS: deque[SendTicket] = deque()
"""The queue of every outbox that has shrunk or has never had an event. It is never changed."""


class Outbox:
    """Events that wait for the server, first in first out, bounded in messages and bytes."""

    __slots__ = (
        "_bytes",
        "_max_bytes",
        "_max_messages",
        "_messages",
        "_tombstones",
        "high_water",
        "queue",
    )

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.queue: deque[SendTicket] = _NO_TICKETS
        """The events that wait, oldest first, including markers and closes."""
        self._tombstones = 0
        self._messages = 0
        self._bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self.high_water: int = 0
        """The most messages that ever waited."""

    def __len__(self) -> int:
        return self._messages

    @property
    def bytes(self) -> int:
        """The payload of the messages that wait, in bytes."""
        return self._bytes

    @property
    def waiting_calls(self) -> int:
        """The number of calls that wait for a queued event."""
        return sum(ticket.waiter is not None for ticket in self.queue)

    def has_room(self, size: int) -> bool:
        """Whether a message of this size may be queued without waiting."""
        return self._messages < self._max_messages and self._bytes + size <= self._max_bytes

    def put(self, ticket: SendTicket) -> None:
        """Add to the end of the queue."""
        if self.queue is _NO_TICKETS:
            self.queue = deque()
        self.queue.append(ticket)
        if ticket.is_message:
            self._messages += 1
            self._bytes += ticket.size
            self.high_water = max(self.high_water, self._messages)

    def take(self) -> SendTicket | None:
        """Remove and return the oldest event, or `None` if the queue is empty."""
        while self.queue:
            ticket = self.queue.popleft()
            if ticket.withdrawn:
                self._tombstones -= 1
                continue
            if ticket.is_message:
                self._uncount(ticket)
            return ticket
        return None

    def withdraw(self, ticket: SendTicket) -> None:
        """Withdraw an event whose call was cancelled before the raw send began.

        It stays in the queue as a tombstone, because removing it would need a linear search. When
        most of the queue is tombstones, all of them are removed at once. A close or a denial is
        never withdrawn, because every connection must send one.
        """
        if isinstance(ticket.event, Close | Reject):
            return
        if ticket.is_message:
            self._uncount(ticket)
        ticket.withdrawn = ticket.done = True
        self._tombstones += 1
        if self._tombstones > len(self.queue) // 2:
            self.queue = deque(waiting for waiting in self.queue if not waiting.withdrawn)
            self._tombstones = 0

    def discard_oldest(self, matches: Callable[[object], bool]) -> bool:
        """Remove the oldest queued message whose tag matches. No call ever waits for a tagged one.

        Unlike `withdraw` it leaves no tombstone, because a room may do this any number of times
        while a peer does not read.

        Returns:
            Whether there was one.
        """
        for index, ticket in enumerate(self.queue):
            if ticket.tag is not None and matches(ticket.tag):
                del self.queue[index]
                self._uncount(ticket)
                return True
        return False

    def shrink(self) -> None:
        """Free the memory of an empty queue: 760 bytes, which few idle connections use again."""
        if not self.queue:
            self.queue = _NO_TICKETS

    def drop(self) -> list[SendTicket]:
        """Drop everything that is queued, and return it, oldest first."""
        dropped = [ticket for ticket in self.queue if not ticket.done]
        self.queue = _NO_TICKETS
        self._tombstones = self._messages = self._bytes = 0
        return dropped

    def drop_messages(self) -> list[SendTicket]:
        """Drop the messages that are queued, and return them, oldest first."""
        waiting = self.drop()
        for ticket in waiting:
            if not ticket.is_message:
                self.put(ticket)
        return [ticket for ticket in waiting if ticket.is_message]

    def _uncount(self, ticket: SendTicket) -> None:
        self._messages -= 1
        self._bytes -= ticket.size
