"""A timeline in Chrome's Trace Event Format, for Perfetto and other trace viewers.

The format is described in "Trace Event Format" (Google, 2016): events are JSON objects, times are
microseconds, and ``pid`` and ``tid`` name the rows. Perfetto reads it among its legacy formats.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from ._recorder import Timeline
from ._story import At, Lane, Span, Story, story_of
from ._words import amount

_Event = dict[str, Any]


def trace(*timelines: Timeline) -> str:
    """Write the events of connections as a trace, for https://ui.perfetto.dev.

    Every connection is a process, and each of its tasks is a thread. A slice is the time that a
    task ran. Its clean-up is a slice inside it, from the cancellation of the task, or the end of
    the connection, to the end of the task. Messages and all other events are instants. Text from
    peers is escaped. Equal input gives equal output.

    Args:
        timelines: The timelines, from `Recorder.timeline` or `Recorder.timelines`, all of one
            recorder. Time 0 is when the first connection was opened.

    Returns:
        A JSON object in Chrome's Trace Event Format, with one event per line.
    """
    stories = [story_of(timeline) for timeline in timelines]
    start = min((story.begin.time for story in stories), default=0.0)
    # All rows have different numbers, because some viewers distinguish rows by `tid` alone.
    numbers = count(1)
    events = [
        json.dumps(event)
        for story, timeline in zip(stories, timelines, strict=True)
        for event in _TraceProcess(story, timeline, start, numbers).events()
    ]
    return '{{"displayTimeUnit": "ms", "traceEvents": [\n{}\n]}}\n'.format(",\n".join(events))


class _TraceProcess:
    """The events of one connection."""

    def __init__(
        self, story: Story, timeline: Timeline, start: float, numbers: Iterator[int]
    ) -> None:
        self._story = story
        self._connection = str(timeline.connection)
        self._start = start
        self._pid = next(numbers)
        self._threads = {id(lane): next(numbers) for lane in story.lanes}

    def events(self) -> Iterator[_Event]:
        """Yield the names of the rows, then the events row by row."""
        first, *_ = self._story.lanes
        named = {"name": first.title, "connection": self._connection}
        yield {"ph": "M", "name": "process_name", "pid": self._pid, "args": named}
        for position, lane in enumerate(self._story.lanes):
            yield self._row("thread_name", lane, name=lane.title)
            yield self._row("thread_sort_index", lane, sort_index=position)
            for span in lane.spans:
                yield from self._span(lane, span)
            for at, size in zip(lane.messages, lane.sizes, strict=True):
                yield self._instant(lane, at, amount(1, size), size=size)
        for moment in self._story.moments:
            yield self._instant(moment.lane, moment.at, moment.text, details=[*moment.details])

    def _row(self, name: str, lane: Lane, /, **arguments: object) -> _Event:
        place = {"pid": self._pid, "tid": self._threads[id(lane)]}
        return {"ph": "M", "name": name, **place, "args": arguments}

    def _span(self, lane: Lane, span: Span) -> Iterator[_Event]:
        """Yield a slice, and inside it a second one for the time in which it winds down."""
        yield self._slice(lane, lane.title, span.begin, span.end)
        if span.notified is not None:
            yield self._slice(lane, "winding down", span.notified, span.end)

    def _slice(self, lane: Lane, name: str, begin: At, end: At | None) -> _Event:
        event = self._event(lane, begin, name)
        if end is None:
            return {"ph": "B", **event}  # viewers show such a slice as unfinished
        return {"ph": "X", **event, "dur": self._time(end) - event["ts"]}

    def _instant(self, lane: Lane, at: At, name: str, /, **arguments: object) -> _Event:
        return {"ph": "i", "s": "t", **self._event(lane, at, name), "args": arguments}

    def _event(self, lane: Lane, at: At, name: str) -> _Event:
        place = {"pid": self._pid, "tid": self._threads[id(lane)]}
        return {"name": name, "cat": "wsnursery", **place, "ts": self._time(at)}

    def _time(self, at: At) -> int:
        """Return the time in microseconds, which is finer than the clock of an event loop."""
        return round((at.time - self._start) * 1e6)
