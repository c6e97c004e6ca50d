"""Who comes and goes in a room, as an asynchronous iterator that cannot fall behind."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar, final

import anyio
import anyio.lowlevel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Joined(Generic[T]):
    """A member of a `Room`, or a `Person` of a shared room, has come in."""

    who: T


@dataclass(frozen=True, slots=True)
class Left(Generic[T]):
    """A member of a `Room`, or a `Person` of a shared room, has gone, for whatever reason."""

    who: T


PresenceEvent: TypeAlias = Joined[T] | Left[T]
"""What `Presence` gives."""


@final
class Presence(Generic[T]):
    """Who comes and goes in a room, oldest first. `Room.presence` makes it.

    What a slow reader has not taken yet is kept per member, not per event: a member that came and
    went in the meantime is not shown at all. So at most one event per member waits, and a reader
    that applies every event to the members of the beginning always has the members of now.

    Several tasks may read; each event goes to one of them.
    """

    def __init__(self) -> None:
        self._pending: dict[object, PresenceEvent[T]] = {}
        self._news: anyio.Event | None = None
        self._ended = False

    def __aiter__(self) -> Presence[T]:
        """Iterate until the ``with`` block of `Room.presence` is left."""
        return self

    async def __anext__(self) -> PresenceEvent[T]:
        """Wait for the next event. A checkpoint; when cancelled, it loses nothing."""
        await anyio.lowlevel.checkpoint()
        while not self._pending:
            if self._ended:
                raise StopAsyncIteration
            self._news = self._news or anyio.Event()
            await self._news.wait()
        return self._pending.pop(next(iter(self._pending)))

    def see_joined(self, key: object, who: T) -> None:
        """Somebody has come in, whom the key identifies."""
        if self._pending.get(key) == Left(who):
            del self._pending[key]  # back before the reader knew
        else:
            self._pending[key] = Joined(who)
            self._wake()

    def see_left(self, key: object, who: T) -> None:
        """Somebody has gone, whom the key identifies."""
        if isinstance(self._pending.pop(key, None), Joined):
            return  # gone before the reader knew
        self._pending[key] = Left(who)
        self._wake()

    def stop(self) -> None:
        """The block has been left."""
        self._pending.clear()
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None


class Watchers(Generic[T]):
    """Those who watch one room."""

    __slots__ = ("_watchers",)

    def __init__(self) -> None:
        self._watchers: dict[Presence[T], None] = {}

    def __len__(self) -> int:
        return len(self._watchers)

    @contextmanager
    def watching(self) -> Generator[Presence[T]]:
        """One more, while the block lasts."""
        watcher = Presence[T]()
        self._watchers[watcher] = None
        try:
            yield watcher
        finally:
            del self._watchers[watcher]
            watcher.stop()

    def see_joined(self, key: object, who: T) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.see_joined(key, who)

    def see_left(self, key: object, who: T) -> None:
        """Tell all of them."""
        for watcher in self._watchers:
            watcher.see_left(key, who)
