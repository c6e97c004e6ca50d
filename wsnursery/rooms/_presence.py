"""The people who join and leave a room, as an asynchronous iterator that cannot fall behind."""

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
    """A member of a `Room`, or a `Person` of a shared room, has joined."""

    who: T


@dataclass(frozen=True, slots=True)
class Left(Generic[T]):
    """A member of a `Room`, or a `Person` of a shared room, has left, for any reason."""

    who: T


PresenceEvent: TypeAlias = Joined[T] | Left[T]
"""The events of `Presence`."""


@final
class Presence(Generic[T]):
    """The people who join and leave a room, oldest first. `Room.presence` makes it.

    For a slow reader, events are kept per member: a member that joined and left in the meantime is
    not shown at all. So at most one event per member waits. A reader that applies every event to
    the initial list of members always has the current list.

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
        """Wait for the next event. A checkpoint. A cancellation loses no event."""
        # The checkpoint comes before an event is taken, so that a cancellation loses no event.
        await anyio.lowlevel.checkpoint()
        while not self._pending:
            if self._ended:
                raise StopAsyncIteration
            self._news = self._news or anyio.Event()
            await self._news.wait()
        # A dictionary keeps the order of insertion, so the first event is the oldest one.
        return self._pending.pop(next(iter(self._pending)))

    def see_joined(self, key: object, who: T) -> None:
        """The person with this key has joined."""
        if self._pending.get(key) == Left(who):
            del self._pending[key]  # rejoined before the reader has seen that they left
        else:
            self._pending[key] = Joined(who)
            self._wake()

    def see_left(self, key: object, who: T) -> None:
        """The person with this key has left."""
        if isinstance(self._pending.pop(key, None), Joined):
            return  # left before the reader has seen that they joined
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
    """The watchers of one room."""

    __slots__ = ("_watchers",)

    def __init__(self) -> None:
        self._watchers: dict[Presence[T], None] = {}

    def __len__(self) -> int:
        return len(self._watchers)

    @contextmanager
    def watching(self) -> Generator[Presence[T]]:
        """Add a watcher for the duration of the block."""
        watcher = Presence[T]()
        self._watchers[watcher] = None
        try:
            yield watcher
        finally:
            del self._watchers[watcher]
            watcher.stop()

    def see_joined(self, key: object, who: T) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.see_joined(key, who)

    def see_left(self, key: object, who: T) -> None:
        """Notify all watchers."""
        for watcher in self._watchers:
            watcher.see_left(key, who)
