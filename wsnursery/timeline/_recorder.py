"""`Recorder`: a hook that keeps what happened, as plain data and within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from operator import attrgetter
from typing import Any, Literal
from uuid import UUID

from wsnursery import hooks

from ._entries import BODY, Entry, Message, entry_of
from ._words import short_name

_FREQUENT = {"buffer_full", "dropped"}
"""What can happen any number of times on one connection, beside messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What happened to one connection, in order."""

    connection: UUID
    """Which: `WebSocket.id`."""
    path: str
    """The path of its handshake, escaped and cut."""
    opened: float
    """When its block was entered, on the clock of the event loop, in seconds."""
    closed: bool
    """Whether the block has been left, with the last entry."""
    dropped: int
    """Entries that were not kept, because there were more than ``max_entries``."""
    entries: tuple[Entry, ...]
    """What happened, the first being ``opened``."""

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
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
    """The entries of one connection while they come in."""

    __slots__ = ("_facts", "_frequent", "_max_entries", "_opened", "dropped", "names")

    def __init__(self, opened: Entry, max_entries: int) -> None:
        self.names = {BODY: "body"}
        """The tasks that run: the name of one that ends is given up, there may be any number."""
        self.dropped = 0
        self._max_entries = max_entries
        self._opened = opened
        self._facts: deque[Entry] = deque()
        self._frequent: deque[Entry | Message] = deque()

    def add(self, entry: Entry) -> None:
        if entry.kind in _FREQUENT:
            self.add_frequent(entry)
            return
        self._facts.append(entry)
        if entry.kind == "task_ended" and entry.task is not None:
            self.names.pop(entry.task, None)
        self._keep_bound()

    def add_frequent(self, entry: Entry | Message) -> None:
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
            yield entry.entry(self._opened.connection) if isinstance(entry, Message) else entry

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
    """A hook that keeps what happens on connections, for a timeline of it.

    ::

        recorder = timeline.Recorder()

        @websocket_app(options=Options(hooks=[recorder]))
        async def app(ws: WebSocket) -> None:
            ...

        print(timeline.text(*recorder.timelines()))

    It keeps no message, exception or frame. One recorder may serve all connections of an event
    loop.

    Args:
        max_connections: How many connections are kept (at least 1). When there are more, the oldest
            that is closed is dropped, or the oldest. 64: more than anyone looks at.
        max_entries: How many entries are kept of each (at least 2). When there are more, the oldest
            messages and notes about buffers are dropped, and the oldest entry only if there are
            none, so what was `Opened` always stands and how it ended is the last to go. With the
            defaults 500 by 64 entries are at most some 10 MB.
        messages: Whether messages are recorded. Without them a message costs what it does without
            hooks.

    Raises:
        ValueError: A bound is too small.
    """

    messages: bool
    """Whether messages are recorded, see `hooks.Hook`."""

    def __init__(
        self, *, max_connections: int = 64, max_entries: int = 500, messages: bool = True
    ) -> None:
        if max_connections < 1:
            raise ValueError(f"max_connections is at least 1, not {max_connections}")
        if max_entries < 2:
            raise ValueError(f"max_entries is at least 2, not {max_entries}")
        self.messages = messages
        self._max_connections = max_connections
        self._max_entries = max_entries
        self._number = 0
        self._tracks: dict[UUID, _Track] = {}

    def __call__(self, event: hooks.Event, /) -> None:
        """Record an event. No checkpoint."""
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
            track.add_frequent(Message(self._number, event.time, kind, event.size))
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
            return  # of a connection that is not kept any more
        self._number += 1

    def _make_room(self) -> None:
        if len(self._tracks) == self._max_connections:
            closed = (key for key, track in self._tracks.items() if track.closed)
            del self._tracks[next(closed, next(iter(self._tracks)))]

    def timeline(self, connection: UUID) -> Timeline:
        """What has happened to one connection so far.

        Args:
            connection: Its `WebSocket.id`.

        Raises:
            KeyError: It is not kept, or not any more.
        """
        return self._tracks[connection].timeline()

    def timelines(self) -> list[Timeline]:
        """What has happened to all connections that are kept, the oldest first."""
        return [track.timeline() for track in self._tracks.values()]

    def entries(self, *, after: int = -1) -> list[Entry]:
        """The entries of all connections that are kept, in order.

        For a live view: remember the `Entry.number` of the last one and ask for what came after.

        Args:
            after: Only those with a greater number.
        """
        kept = merge(*(track.entries() for track in self._tracks.values()), key=_by_number)
        return [entry for entry in kept if entry.number > after]
