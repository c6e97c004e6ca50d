"""A timeline as lines of text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from ._entries import Entry
from ._recorder import Timeline
from ._words import counted


def text(*timelines: Timeline) -> str:
    """Write what happened to connections as text, a line for every event.

    Messages that follow each other are one line. What peers sent is escaped. Equal input gives
    equal output.

    Args:
        timelines: Of `Recorder.timeline` or `Recorder.timelines`; one block for each.

    Returns:
        Lines without a line end behind the last; empty if there are no timelines.
    """
    return "\n\n".join("\n".join(_lines(timeline)) for timeline in timelines)


def _lines(timeline: Timeline) -> Iterator[str]:
    yield f"WebSocket {timeline.path} ({timeline.connection})"
    if timeline.dropped:
        yield f"{'':9}  {counted(timeline.dropped, 'older entry', 'older entries')} not kept"
    for entry in _merged(timeline.entries):
        yield f"{entry.time - timeline.opened:9.3f}  {entry}"


def _merged(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Let messages of one way that follow each other be one entry, at the time of the first."""
    for _, group in groupby(entries, _run):
        first, *others = group
        yield replace(
            first,
            messages=first.messages + sum(entry.messages for entry in others),
            size=first.size + sum(entry.size for entry in others),
        )


def _run(entry: Entry) -> str | int:
    return entry.kind if entry.kind in ("received", "sent") else entry.number
