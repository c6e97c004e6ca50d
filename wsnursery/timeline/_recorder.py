"""`Recorder`: a hook that records events as plain data, within limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter
from typing import Any, Literal
from uuid import UUID

from wsnursery import hooks

from ._entries import BODY, Entry, MessageEntry, entry_of
from ._words import short_name

_FREQUENT = {"buffer_full", "dropped"}
"""Events that can happen any number of times on one connection, in addition to messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The events of one connection, in order."""

    connection: UUID
    """The connection: `WebSocket.id`."""
    path: str
    """The path of its handshake, escaped and cut."""
    opened: float
    """The time when its block was entered, in seconds, on the clock of the event loop."""
    closed: bool
    """Whether the block has been left. Then the last entry is ``closed``."""
    dropped: int
    """The number of entries that were dropped, because there were more than ``max_entries``."""
    entries: tuple[Entry, ...]
    """The entries. The first one is ``opened``."""

    def as_dict(self) -> dict[str, Any]:
        """Return the timeline as data for JSON."""
        return {
            "connection": str(self.connection),
            "path": self.path,
            "opened": self.opened,
            "closed": self.closed,
            "dropped": self.dropped,
            "entries": [entry.as_dict() for entry in self.entries],
        }


_by_number = attrgetter("number")


class _Track:
    """Collects the entries of one connection."""

    __slots__ = ("_facts", "_frequent", "_max_entries", "_opened", "dropped", "names")

    def __init__(self, opened: Entry, max_entries: int) -> None:
        self.names = {BODY: "body"}
        """The names of running tasks. Names of ended ones are dropped, as they may be many."""
        self.dropped = 0
        self._max_entries = max_entries
        self._opened = opened
        self._facts: deque[Entry] = deque()
        self._frequent: deque[Entry | MessageEntry] = deque()

    def add(self, entry: Entry) -> None:
        if entry.kind in _FREQUENT:
            self.add_frequent(entry)
            return
        self._facts.append(entry)
        if entry.kind == "task_ended" and entry.task is not None:
            self.names.pop(entry.task, None)
        self._keep_bound()

    def add_frequent(self, entry: Entry | MessageEntry) -> None:
        self._frequent.append(entry)
        self._keep_bound()

    def _keep_bound(self) -> None:
        if 1 + len(self._facts) + len(self._frequent) > self._max_entries:
            (self._frequent or self._facts).popleft()
            self.dropped += 1

    @property
    def closed(self) -> bool:
        return bool(self._facts) and self._facts[-1].kind == "closed"

    def entries(self) -> Iterator[Entry]:
        yield self._opened
        for entry in merge(self._facts, self._frequent, key=_by_number):
            yield entry.entry(self._opened.connection) if isinstance(entry, MessageEntry) else entry

    def timeline(self) -> Timeline:
        opened = self._opened
        return Timeline(
            connection=opened.connection,
            path=opened.label,
            opened=opened.time,
            closed=self.closed,
            dropped=self.dropped,
            entries=tuple(self.entries()),
        )


class Recorder:
    """A hook that records the events of connections for timelines.

    ::

        recorder = timeline.Recorder()

        @websocket_app(options=Options(hooks=[recorder]))
        async def app(ws: WebSocket) -> None:
            ...

        print(timeline.text(*recorder.timelines()))

    It keeps no message, exception or frame. One recorder may serve all connections of an event
    loop.

    Args:
        max_connections: The number of connections that are kept (at least 1). When there are more,
            the oldest closed one is dropped, or the oldest one if none is closed. The default of
            64 is more than one person looks at.
        max_entries: The number of entries that are kept for each connection (at least 2). When
            there are more, the oldest messages and events about buffers are dropped first. Other
            entries are dropped only when there are none of these, and `Opened` is always kept.
            With the defaults, 500 by 64 entries take at most some 10 MB.
        messages: Whether to record messages. If not, a message costs as much as without hooks.

    Raises:
        ValueError: A limit is too small.
    """

    messages: bool
    """Whether messages are recorded, see `hooks.Hook`."""

    def __init__(
        self, *, max_connections: int = 64, max_entries: int = 500, messages: bool = True
    ) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections must be at least 1, got {max_connections}")
        if max_entries < 2:
            raise ValueError(f"max_entries must be at least 2, got {max_entries}")
        self.messages = messages
        self._max_connections = max_connections
        self._max_entries = max_entries
        self._number = 0
        self._tracks: dict[UUID, _Track] = {}

    def __call__(self, event: hooks.Event, /) -> None:
        """Record an event. Not a checkpoint."""
        match event:
            case hooks.MessageReceived():
                self._add_message(event, "received")
            case hooks.MessageSent():
                self._add_message(event, "sent")
            case _:
                self._add(event)

    def _add_message(
        self,
        event: hooks.MessageReceived | hooks.MessageSent,
        kind: Literal["received", "sent"],
    ) -> None:
        track = self._tracks.get(event.connection)
        if track is not None:
            track.add_frequent(MessageEntry(self._number, event.time, kind, event.size))
            self._number += 1

    def _add(self, event: hooks.Event) -> None:
        track = self._tracks.get(event.connection)
        if isinstance(event, hooks.TaskStarted) and track is not None:
            track.names[event.task] = short_name(event.name)
        entry = entry_of(event, self._number, track.names if track is not None else {})
        if entry is None:
            return
        if track is not None:
            track.add(entry)
        elif entry.kind == "opened":
            self._make_room()
            self._tracks[event.connection] = _Track(entry, self._max_entries)
        else:
            return  # an event of a connection that is no longer kept
        self._number += 1

    def _make_room(self) -> None:
        if len(self._tracks) == self._max_connections:
            closed = (key for key, track in self._tracks.items() if track.closed)
            del self._tracks[next(closed, next(iter(self._tracks)))]

    def timeline(self, connection: UUID) -> Timeline:
        """Return the events of one connection so far.

        Args:
            connection: Its `WebSocket.id`.

        Raises:
            KeyError: The connection is not kept, or no longer.
        """
        return self._tracks[connection].timeline()

    def timelines(self) -> list[Timeline]:
        """Return the events of all connections that are kept, the oldest connection first."""
        return [track.timeline() for track in self._tracks.values()]

    def entries(self, *, after: int = -1) -> list[Entry]:
        """Return the entries of all connections that are kept, in order.

        For a live view, remember the `Entry.number` of the last entry, and get the later ones.

        Args:
            after: Return only entries with a greater number.
        """
        kept = merge(*(track.entries() for track in self._tracks.values()), key=_by_number)
        return [entry for entry in kept if entry.number > after]
