"""The outbox: what the application sends, until the server takes it. Nothing here waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from wsnursery._backend.native import Wakeup

from .events import Close, Outgoing, Reject
from .stopping import Participant


class Delivery:
    """One event on its way to the server, and the call that may be waiting for it.

    Without an event it is a fence: it is done when everything queued before it is.
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
        """Whether this is payload, which can be lost, and no handshake, close or fence."""
        self.tag: object = tag
        """What a room knows its message by; `None` for everything else."""
        self.done: bool = False
        """Nothing more will become of it."""
        self.lost: bool = False
        """The connection ended before the server had taken it."""
        self.withdrawn: bool = False
        """Its call was cancelled before it began."""
        self.error: Exception | None = None
        """The server's own exception about this very event."""
        self.waiter: Wakeup | None = None
        """Wakes the call that waits; `None` if nobody does."""
        self.caller: Participant | None = None
        """Whose call waits; `None` if nobody does."""

    def finish(self, error: Exception | None = None) -> None:
        """The server has taken or refused it: wake the waiting call."""
        self.done = True
        self.error = error
        if self.waiter is not None:
            self.waiter.wake()

    def lose(self) -> None:
        """The connection has ended: wake the waiting call."""
        self.lost = True
        self.finish()


class Outbox:
    """Events that wait for the server, first in first out, bounded in messages and bytes."""

    __slots__ = (
        "_bytes",
        "_empty_places",
        "_max_bytes",
        "_max_messages",
        "_messages",
        "_queue",
        "high_water",
        "in_flight",
    )

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._queue: deque[Delivery] = deque()
        self._empty_places = 0
        self._messages = 0
        self._bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self.in_flight: Delivery | None = None
        """What the server has been given and has not taken yet. It no longer counts as queued."""
        self.high_water: int = 0
        """The most messages that ever waited."""

    def __len__(self) -> int:
        return self._messages

    @property
    def bytes(self) -> int:
        """The payload bytes that wait."""
        return self._bytes

    @property
    def waiting_calls(self) -> int:
        """How many calls wait for something that is queued or in flight."""
        waiting = sum(delivery.waiter is not None for delivery in self._queue)
        return waiting + (self.in_flight is not None and self.in_flight.waiter is not None)

    def has_room(self, size: int) -> bool:
        """Whether a message of this size may be queued without waiting."""
        return self._messages < self._max_messages and self._bytes + size <= self._max_bytes

    def put(self, delivery: Delivery) -> None:
        """Add to the end of the queue."""
        self._queue.append(delivery)
        if delivery.is_message:
            self._messages += 1
            self._bytes += delivery.size
            self.high_water = max(self.high_water, self._messages)

    def begin(self) -> Delivery | None:
        """Move the oldest event into flight and return it, or `None` if nothing waits."""
        while self._queue:
            delivery = self._queue.popleft()
            if delivery.withdrawn:
                self._empty_places -= 1
                continue
            if delivery.is_message:
                self._uncount(delivery)
            self.in_flight = delivery
            return delivery
        return None

    def withdraw(self, delivery: Delivery) -> None:
        """Take an event back whose call was cancelled, if it has not begun.

        It stays in the queue as an empty place, for to remove it there would cost a search; when
        most places are empty, all of them go at once. A close or a denial is never taken back: the
        connection owes it.
        """
        if delivery is self.in_flight or isinstance(delivery.event, Close | Reject):
            return
        if delivery.is_message:
            self._uncount(delivery)
        delivery.withdrawn = delivery.done = True
        self._empty_places += 1
        if self._empty_places > len(self._queue) // 2:
            self._queue = deque(waiting for waiting in self._queue if not waiting.withdrawn)
            self._empty_places = 0

    def discard_oldest(self, matches: Callable[[object], bool]) -> bool:
        """Remove the oldest queued message whose tag matches; no call ever waits for a tagged one.

        Unlike `withdraw` it leaves no empty place: a room may do this for as long as a peer stalls.

        Returns:
            Whether there was one.
        """
        for index, delivery in enumerate(self._queue):
            if delivery.tag is not None and matches(delivery.tag):
                del self._queue[index]
                self._uncount(delivery)
                return True
        return False

    def drop(self) -> list[Delivery]:
        """Give up everything that is queued or in flight and return it, oldest first."""
        dropped = [] if self.in_flight is None else [self.in_flight]
        dropped += self._queue
        self._queue.clear()
        self._empty_places = self._messages = self._bytes = 0
        return [delivery for delivery in dropped if not delivery.done]

    def drop_messages(self) -> list[Delivery]:
        """Give up the messages that are queued and return them, oldest first."""
        waiting = [delivery for delivery in self._queue if not delivery.withdrawn]
        self._queue = deque(delivery for delivery in waiting if not delivery.is_message)
        self._empty_places = self._messages = self._bytes = 0
        return [delivery for delivery in waiting if delivery.is_message]

    def _uncount(self, delivery: Delivery) -> None:
        self._messages -= 1
        self._bytes -= delivery.size
