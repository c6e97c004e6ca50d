"""The lanes and the important moments of a timeline, without geometry or side effects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias

from wsnursery.hooks import Ending

from ._entries import BODY, ENDINGS, Entry, sentence
from ._recorder import Timeline
from ._words import amount, counted, duration

Tone: TypeAlias = Literal["plain", "good", "warn", "bad"]

_TONES: dict[Ending | None, Tone] = {
    "returned": "plain",
    "cancelled": "warn",
    "disconnected": "warn",
    "failed": "bad",
}
_LAST_TONES: dict[Ending | None, Tone] = {**_TONES, "returned": "good"}


class At(NamedTuple):
    """A position in the order of events, with its time."""

    number: int
    time: float


@dataclass(slots=True)
class Span:
    """A task, or the connection itself, from its beginning to its end."""

    begin: At
    notified: At | None = None
    """The moment when it was cancelled or the connection ended. From then on it winds down."""
    end: At | None = None
    """`None` if it is still running."""


@dataclass(slots=True, eq=False)
class Lane:
    """One row of the picture."""

    title: str
    note: str = ""
    """Its outcome, in a few words."""
    spans: list[Span] = field(default_factory=list[Span])
    """The spans of the connection, or of tasks with one name that ran one after the other."""
    messages: list[At] = field(default_factory=list[At])
    sizes: list[int] = field(default_factory=list[int])
    """The sizes of the messages, in bytes."""


@dataclass(slots=True)
class Moment:
    """An event that gets a number in the picture and a line below it."""

    at: At
    lane: Lane
    tone: Tone
    text: str
    details: tuple[str, ...] = ()
    cuts: bool = False
    """Whether it affects other lanes."""


@dataclass(frozen=True, slots=True)
class Story:
    """One connection."""

    lanes: list[Lane]
    """From top to bottom."""
    moments: list[Moment]
    begin: At
    end: At
    """The last known event."""
    forgotten: int
    """The number of entries that were dropped."""


def story_of(timeline: Timeline) -> Story:
    """Find the lanes and the moments of a timeline."""
    opened, *others = timeline.entries
    builder = _StoryBuilder(opened)
    for entry in others:
        builder.add(entry)
    last = timeline.entries[-1]
    return Story(builder.lanes(), builder.moments, _at(opened), _at(last), timeline.dropped)


def _at(entry: Entry) -> At:
    return At(entry.number, entry.time)


class _StoryBuilder:
    """Builds a story from the entries of one connection."""

    def __init__(self, opened: Entry) -> None:
        self.moments: list[Moment] = []
        self._begin = _at(opened)
        self._connection = Lane(f"WebSocket {opened.label}", "open", [Span(self._begin)])
        self._ways = {"receive": Lane("received"), "send": Lane("sent")}
        self._tasks: list[Lane] = []
        self._running: dict[int, Lane] = {}
        self._ended: At | None = None
        self._notified: dict[int, At] = {}
        self._details: set[tuple[str, ...]] = set()
        self._repeated: dict[str, tuple[Moment, int, int]] = {}
        self._start(BODY, "body", self._begin)

    def add(self, entry: Entry) -> None:
        """Add the next entry."""
        match entry.kind:
            case "received" | "sent":
                lane = self._way(entry)
                lane.messages.append(_at(entry))
                lane.sizes.append(entry.size)
            case "buffer_full" | "dropped":
                self._repeat(entry)
            case "task_started":
                self._start(entry.task or BODY, entry.label, _at(entry))
            case "task_ended":
                self._end_task(entry)
            case _:
                self._tell_of_connection(entry)

    def lanes(self) -> list[Lane]:
        """Return the lanes from top to bottom. A direction without messages has no lane."""
        for lane in self._ways.values():
            if lane.messages:
                lane.note = amount(len(lane.messages), sum(lane.sizes))
        for lane in self._tasks:
            if len(lane.spans) > 1:
                lane.note = counted(len(lane.spans), "task")
        used = [moment.lane for moment in self.moments]
        received, sent = (
            [lane] if lane.messages or lane in used else [] for lane in self._ways.values()
        )
        return [self._connection, *received, *self._tasks, *sent]

    def _way(self, entry: Entry) -> Lane:
        return self._ways["send" if entry.buffer == "send" else "receive"]

    def _note(
        self, entry: Entry, lane: Lane, tone: Tone, more: str = "", *, cuts: bool = False
    ) -> Moment:
        # The last entry has the whole chain of causes. Elsewhere a chain is written out only once.
        known = entry.ending == "disconnected" or entry.detail in self._details
        details = () if known and entry.kind != "closed" else entry.detail
        self._details.add(entry.detail)
        moment = Moment(_at(entry), lane, tone, sentence(entry) + more, details, cuts)
        self.moments.append(moment)
        return moment

    def _repeat(self, entry: Entry) -> None:
        """Merge repeated events, if there are no other events in between."""
        lane = self._way(entry)
        key = f"{entry.kind} {lane.title}"
        if key in self._repeated:
            moment, times, messages = self._repeated[key]
        else:
            moment, times, messages = self._note(entry, lane, "warn"), 0, 0
        times, messages = times + 1, messages + entry.messages
        self._repeated[key] = moment, times, messages
        often = f", {times} times" if times > 1 and entry.kind == "buffer_full" else ""
        moment.text = sentence(replace(entry, messages=messages)) + often

    def _start(self, task: int, name: str, at: At) -> None:
        """Start a task. It reuses the lane of an ended task of the same name, if there is one."""
        taken = self._running.values()
        free = (lane for lane in self._tasks if lane.title == name and lane not in taken)
        lane = next(free, None)
        if lane is None:
            lane = Lane(name)
            self._tasks.append(lane)
        lane.note = "running"
        lane.spans.append(Span(at, notified=self._ended))
        self._running[task] = lane

    def _end_task(self, entry: Entry) -> None:
        task = entry.task or BODY
        if task not in self._running:  # the entry of its start was dropped
            self._start(task, entry.label, self._begin)
        lane = self._running.pop(task)
        lane.note = ENDINGS[entry.ending]
        span = lane.spans[-1]
        span.end = _at(entry)
        if span.notified is not None or entry.ending != "returned":
            later = self._later(entry, self._notified.pop(task, span.end))
            self._note(entry, lane, _TONES[entry.ending], later)
            self._repeated.clear()

    def _later(self, entry: Entry, notified: At) -> str:
        """Describe how long a task has taken to end."""
        took = duration(entry.time - notified.time)
        if entry.time <= notified.time:
            return ""
        if entry.ending in ("cancelled", "disconnected"):
            return f", its clean-up took {took}"
        return f", {took} after {'the end' if notified == self._ended else 'its cancellation'}"

    def _tell_of_connection(self, entry: Entry) -> None:
        self._repeated.clear()
        span = self._connection.spans[0]
        at = _at(entry)
        match entry.kind:
            case "accepted":
                self._note(entry, self._connection, "good")
            case "send_failed":
                self._note(entry, self._ways["send"], "bad", cuts=True)
            case "cancelled":
                said, why = replace(entry, detail=()), "".join(entry.detail)
                self._note(said, self._connection, "warn", f": {why}", cuts=True)
                self._wind_down(entry.tasks, at)
            case "disconnected":
                tone: Tone = "bad" if entry.broken else "plain"
                self._note(entry, self._connection, tone, cuts=True)
                span.notified = self._ended = at
                self._wind_down(tuple(self._running), at)
            case _:
                self._note(entry, self._connection, _LAST_TONES[entry.ending])
                span.end = at
                self._connection.note = entry.label

    def _wind_down(self, tasks: tuple[int, ...], at: At) -> None:
        for task in tasks:
            if task in self._running:
                span = self._running[task].spans[-1]
                span.notified = span.notified or at
                self._notified[task] = at
