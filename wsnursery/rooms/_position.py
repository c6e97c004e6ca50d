"""`Position`: which message of a room a client has seen last."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from wsnursery._types import Message

LONGEST_TEXT: Final = 100
"""Characters that `Position.parse` reads: more than any position of ours has."""

WRITTEN: Final = re.compile(r"([0-9A-Za-z_-]{1,64})\.([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """The place of a message in its room. Clients keep the newest one, to resume from it.

    ``str(position)`` is a short text of letters, digits and a dot, safe in a URL. It is opaque to
    clients: only equality means anything to them, because the epoch can change at any message.
    """

    epoch: str
    """Names the sequence of messages. Numbers of two epochs cannot be compared."""
    number: int
    """The place in that sequence: the first message is 1, and 0 is before the first."""

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Read what ``str(position)`` has written and a client has sent back.

        Args:
            text: Anything.

        Returns:
            `None` if the text is not a position. Never raises.
        """
        found = WRITTEN.fullmatch(text) if len(text) <= LONGEST_TEXT else None
        return None if found is None else cls(found[1], int(found[2]))


Stamp: TypeAlias = Callable[[Message, Position], Message]
"""Puts a message's position into the message; see `wsnursery.Room`."""
