"""The inbox: what the peer sent, until the application reads it. Nothing here waits."""

from __future__ import annotations

from collections import deque

from wsnursery._types import Message


def size_of(message: Message) -> int:
    """The payload's size on the wire, in bytes."""
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode())


class Inbox:
    """Received messages that wait for the reader, bounded in messages and bytes."""

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "high_water", "messages")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.messages: deque[tuple[Message, int]] = deque()
        """What waits, oldest first, with its size in bytes."""
        self._bytes = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self.high_water: int = 0
        """The most messages that ever waited."""

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def bytes(self) -> int:
        """The payload bytes that wait."""
        return self._bytes

    def has_room(self, factor: int = 1, more: int = 0) -> bool:
        """Whether one may be put, the bounds taken ``factor`` times, and ``more`` messages."""
        return (
            len(self.messages) < self._max_messages * factor + more
            and self._bytes < self._max_bytes * factor
        )

    @property
    def is_worth_filling(self) -> bool:
        """Whether one that was full has room for several messages again: a quarter of it."""
        return len(self.messages) <= self._max_messages * 3 // 4 and self._bytes < self._max_bytes

    def put(self, message: Message, size: int) -> None:
        """Add a message; `has_room` is the caller's question to ask."""
        self.messages.append((message, size))
        self._bytes += size
        self.high_water = max(self.high_water, len(self.messages))

    def take(self) -> Message:
        """Remove and return the oldest message."""
        message, size = self.messages.popleft()
        self._bytes -= size
        return message

    def clear(self) -> None:
        """Drop everything."""
        self.messages.clear()
        self._bytes = 0
