"""Who comes and goes in a room, as an asynchronous iterator that cannot fall behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

import anyio
import anyio.lowlevel

from ._member import Member


@dataclass(frozen=True, slots=True)
class Joined:
    """A member has come in."""

    member: Member


@dataclass(frozen=True, slots=True)
class Left:
    """A member has gone, by whatever way."""

    member: Member


PresenceEvent: TypeAlias = Joined | Left
"""What `Presence` gives."""


@final
class Presence:
    """The comings and goings in a room, oldest first. `Room.presence` makes it.

    What a slow reader has not taken yet is kept per member, not per event: a member that came and
    went meanwhile is not shown at all. So no more waits than there are members, and who applies
    every event to the members that were in at the beginning always has the members that are in.

    Several tasks may read; each event goes to one of them.
    """

    def __init__(self) -> None:
        self._pending: dict[Member, PresenceEvent] = {}
        self._news: anyio.Event | None = None
        self._over = False

    def __aiter__(self) -> Presence:
        """Iterate until the ``with`` block of `Room.presence` is left."""
        return self

    async def __anext__(self) -> PresenceEvent:
        """Wait for the next event. A checkpoint; when cancelled, it loses nothing."""
        await anyio.lowlevel.checkpoint()
        while not self._pending:
            if self._over:
                raise StopAsyncIteration
            self._news = self._news or anyio.Event()
            await self._news.wait()
        return self._pending.pop(next(iter(self._pending)))

    def _see_joined(self, member: Member) -> None:
        """A member has come in."""
        self._pending[member] = Joined(member)
        self._wake()

    def _see_left(self, member: Member) -> None:
        """A member has gone."""
        if self._pending.pop(member, None) is None:
            self._pending[member] = Left(member)
            self._wake()

    def _stop(self) -> None:
        """Nobody is watching any more."""
        self._pending.clear()
        self._over = True
        self._wake()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None
