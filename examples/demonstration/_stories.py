"""Stories: the events that were recorded after a connection was broken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any
from uuid import UUID

from wsnursery import WebSocket
from wsnursery.timeline import Recorder, Timeline, svg

from ._handlers import name_of

KEPT = 10
"""The number of stories that are kept for drawing."""

WATCHED_SECONDS = 12.0
"""Seconds after which a story ends even if the connection is still open."""

WIDTHS = (280, 900)
"""The narrowest and the widest drawing, in CSS pixels."""


class Story:
    """One action and the events that followed it.

    Args:
        number: Identifies the story in addresses.
        action: The action.
        ws: The connection that it broke.
        begun: The time of the action, on the clock of the event loop.
    """

    def __init__(self, number: int, action: str, ws: WebSocket, begun: float) -> None:
        self.number: int = number
        self.connection: UUID = ws.id
        self._action = action
        self._name = name_of(ws.scope)
        self._begun = begun
        self._timeline: Timeline | None = None
        self.over: bool = False

    def update(self, timeline: Timeline, now: float) -> bool:
        """Take the recorded events of the connection. Return True if something is new."""
        news = since(timeline, self._begun)
        over = timeline.closed or now >= self._begun + WATCHED_SECONDS
        changed = (news, over) != (self._timeline, self.over)
        self._timeline, self.over = news, over
        return changed

    def shown(self) -> dict[str, Any]:
        """The text that the page shows next to the drawing."""
        return {
            "number": self.number,
            "action": self._action,
            "name": self._name,
            "over": self.over,
            "entries": [*self._moments()],
        }

    def _moments(self) -> Iterator[dict[str, Any]]:
        """Yield the events one by one, with repeated events counted in one."""
        entries = () if self._timeline is None else self._timeline.entries
        news = (entry for entry in entries if entry.time > self._begun)
        for (kind, text), same in groupby(news, lambda entry: (entry.kind, str(entry))):
            first, *others = same
            again = f" ({1 + len(others)} times)" if others else ""
            yield {"at": first.time - self._begun, "kind": kind, "text": f"{text}{again}"}
        if self.over and not (self._timeline and self._timeline.closed):
            yield {"at": WATCHED_SECONDS, "kind": "open", "text": "the connection is still open"}

    def drawn(self, width: int) -> bytes:
        """Draw the story as SVG, with the width that the page has."""
        low, high = WIDTHS
        timelines = () if self._timeline is None else (self._timeline,)
        return svg(*timelines, width=max(low, min(width, high))).encode()


class Stories:
    """The newest stories.

    Args:
        recorder: Records the events.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._stories: deque[Story] = deque(maxlen=KEPT)
        self._count = 0

    def begin(self, action: str, ws: WebSocket, now: float) -> None:
        """Begin a story, when a connection was broken."""
        self._count += 1
        self._stories.append(Story(self._count, action, ws, now))

    def get(self, number: int) -> Story | None:
        """Return a story, if it is still kept."""
        return next((story for story in self._stories if story.number == number), None)

    @property
    def newest(self) -> Story | None:
        """The newest story, if there is one."""
        return self._stories[-1] if self._stories else None

    def changed(self, now: float) -> list[Story]:
        """Update all stories, and return those that have changed."""
        return [story for story in self._stories if not story.over and self._update(story, now)]

    def _update(self, story: Story, now: float) -> bool:
        try:
            timeline = self._recorder.timeline(story.connection)
        except KeyError:  # the recorder has dropped it in favour of newer connections
            story.over = True
            return True
        return story.update(timeline, now)


def since(timeline: Timeline, begun: float) -> Timeline:
    """Cut a timeline at a moment. Tasks that existed before start at that moment."""
    ended = {
        entry.task
        for entry in timeline.entries
        if entry.kind == "task_ended" and entry.time < begun
    }
    entries = [
        replace(entry, time=max(entry.time, begun))
        for entry in timeline.entries
        if entry.time >= begun
        or entry.kind == "opened"
        or (entry.kind == "task_started" and entry.task not in ended)
    ]
    return replace(timeline, opened=begun, entries=tuple(entries))
