"""The inbox: what the peer sent, until the application reads it. No call here waits."""

from __future__ import annotations

from collections import deque

from wsnursery._types import Message

_NO_MESSAGES: deque[tuple[Message, int]] = deque()
"""The queue of every inbox into which no message was put. An empty deque takes 600 bytes, and most
connections never need one, because the reader itself receives. It is never changed."""


class Inbox:
    """Received messages that wait for the reader, bounded in messages and bytes."""

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "high_water", "messages")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self.messages: deque[tuple[Message, int]] = _NO_MESSAGES
        """The messages that wait, oldest first, with their sizes in bytes."""
        self._bytes: int = 0
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self.high_water: int = 0
        """The most messages that ever waited."""

    def __len__(self) -> int:
        return len(self.messages)

    def is_unread(self) -> bool:
        """Whether a message waits."""
        return bool(self.messages)

    @property
    def bytes(self) -> int:
        """The payload of the messages that wait, in bytes."""
        return self._bytes

    def has_room(self, factor: int = 1, more: int = 0) -> bool:
        """Whether one more message fits, with the limits multiplied by ``factor``.

        Args:
            factor: Multiplies both limits.
            more: Messages that fit beyond that.
        """
        return (
            len(self.messages) < self._max_messages * factor + more
            and self._bytes < self._max_bytes * factor
        )

    @property
    def is_worth_filling(self) -> bool:
        """Whether a quarter of a full inbox is free again."""
        # A quarter is a compromise: with less, the receiver would be woken for almost every
        # message. With more, the server would stay unread for longer than necessary.
        return len(self.messages) <= self._max_messages * 3 // 4 and self._bytes < self._max_bytes

    def put(self, message: Message, size: int) -> None:
        """Add a message; the caller has asked `has_room` where a limit holds."""
        if self.messages is _NO_MESSAGES:
            self.messages = deque()
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
        self.messages = _NO_MESSAGES
        self._bytes = 0
