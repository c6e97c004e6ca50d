"""A timeline as lines of text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from ._entries import Entry
from ._recorder import Timeline
from ._words import counted


def text(*timelines: Timeline) -> str:
    """Write the events of connections as text, with one line per event.

    Consecutive messages share one line. Text from peers is escaped. Equal input gives equal
    output.

    Args:
        timelines: The timelines, from `Recorder.timeline` or `Recorder.timelines`. Each is one
            paragraph.

    Returns:
        The lines, without a line break at the end. Empty if there are no timelines.
    """
    return "\n\n".join("\n".join(_lines(timeline)) for timeline in timelines)


def _lines(timeline: Timeline) -> Iterator[str]:
    yield f"WebSocket {timeline.path} ({timeline.connection})"
    if timeline.dropped:
        yield f"{'':9}  {counted(timeline.dropped, 'older entry', 'older entries')} not kept"
    for entry in _merged(timeline.entries):
        yield f"{entry.time - timeline.opened:9.3f}  {entry}"


def _merged(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Merge consecutive messages of one direction into one entry, at the time of the first."""
    for _, group in groupby(entries, _run):
        first, *others = group
        yield replace(
            first,
            messages=first.messages + sum(entry.messages for entry in others),
            size=first.size + sum(entry.size for entry in others),
        )


def _run(entry: Entry) -> str | int:
    return entry.kind if entry.kind in ("received", "sent") else entry.number
