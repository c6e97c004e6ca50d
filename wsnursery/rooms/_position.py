"""`Position`: the place of a message in its room."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from wsnursery._types import Message

LONGEST_TEXT: Final = 100
"""The most characters that `Position.parse` reads, which is more than any valid position has."""

WRITTEN: Final = re.compile(r"([0-9A-Za-z_-]{1,64})\.([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """The place of a message in its room. Clients keep the newest one, to resume from it.

    ``str(position)`` is a short text of letters, digits and a dot, which is safe in a URL. It is
    opaque to clients: they may only compare it for equality, because the epoch can change at any
    message.
    """

    epoch: str
    """Names the sequence of messages. Numbers of two epochs cannot be compared."""
    number: int
    """The place in that sequence: the first message is 1, and 0 is before the first."""

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Parse a ``str(position)`` that a client has sent back.

        Args:
            text: Any text.

        Returns:
            `None` if the text is not a position. Never raises.
        """
        found = WRITTEN.fullmatch(text) if len(text) <= LONGEST_TEXT else None
        return None if found is None else cls(found[1], int(found[2]))


Stamp: TypeAlias = Callable[[Message, Position], Message]
"""A function that puts a message's position into the message; see `wsnursery.Room`."""
