"""The published messages of a room, with their positions, and the history of the newest ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from wsnursery._types import Message

from ._position import Position


@dataclass(frozen=True, slots=True, eq=False)
class Publication:
    """One message of a room. One object serves all members."""

    room: object
    """The room's token. A reference to the room would form a cycle through its history."""
    position: Position
    """Its position in the room."""
    message: Message
    """The message that is sent to the members."""
    size: int
    """The message's payload, in bytes."""
    key: str | None
    """With ``overflow="latest"``, a newer message of the same key replaces this one."""

    def shares_room(self, tag: object) -> bool:
        """Whether a tag in an outbox is a publication of the same room."""
        return isinstance(tag, Publication) and tag.room is self.room

    def supersedes(self, tag: object) -> bool:
        """Whether a tag in an outbox is a publication of the same room and key."""
        return isinstance(tag, Publication) and tag.room is self.room and tag.key == self.key


class History:
    """The newest publications of a room, bounded in messages and bytes."""

    __slots__ = ("_kept", "_max_bytes", "_max_messages", "bytes")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._kept: deque[Publication] | None = None
        """Made for the first message, because most of the memory of an idle room would be this
        queue."""
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self.bytes = 0
        """The payload of the kept messages, in bytes."""

    def __len__(self) -> int:
        return len(self._kept or ())

    def append(self, publication: Publication) -> None:
        """Keep one more, and drop the oldest ones beyond the limits."""
        if self._kept is None:
            self._kept = deque()
        self._kept.append(publication)
        self.bytes += publication.size
        while len(self._kept) > self._max_messages or self.bytes > self._max_bytes:
            self.bytes -= self._kept.popleft().size

    def rewind(self, number: int) -> None:
        """Drop the messages with a higher number."""
        while self._kept and self._kept[-1].position.number > number:
            self.bytes -= self._kept.pop().size

    def clear(self) -> None:
        """Drop everything."""
        self._kept = None
        self.bytes = 0

    def newest(self, count: int) -> list[Publication]:
        """Return the newest ones, oldest first."""
        return list(self._kept or ())[max(0, len(self) - count) :]

    def after(self, number: int) -> list[Publication]:
        """Return the kept ones with a higher number, oldest first."""
        return [kept for kept in self._kept or () if kept.position.number > number]


def newest_that_fit(
    publications: Iterable[Publication], max_messages: int, max_bytes: int
) -> list[Publication]:
    """Return the longest tail of publications within both limits, oldest first."""
    tail = History(max_messages, max_bytes)
    for publication in publications:
        tail.append(publication)
    return tail.newest(len(tail))
