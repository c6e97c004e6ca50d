"""The layout of the picture of a timeline: numbers and texts, without markup or side effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log2
from typing import Literal, TypeAlias

from ._axis import GAP, LABEL_SIZE, Axis
from ._story import Lane, Moment, Span, Story, Tone
from ._type import text_width, truncated, wrapped
from ._words import ARROW, counted, duration

Style: TypeAlias = Literal[
    "title", "lane", "note", "label", "key", "time", "row", "detail", "number"
]
Anchor: TypeAlias = Literal["start", "middle", "end"]
BoxStyle: TypeAlias = Literal["link", "task"]
LineStyle: TypeAlias = Literal["cut", "way", "message", "axis", "dotted"]

SIZES: dict[Style, float] = {
    "title": 16,
    "lane": 13,
    "note": 12,
    "label": LABEL_SIZE,
    "key": 11,
    "time": 12,
    "row": 13,
    "detail": 12,
    "number": 10,
}
"""The font sizes."""

MARGIN = 14.0
RADIUS = GAP / 2 - 1
"""The radius of a mark."""
_READABLE = 6.0
"""The least radius of a mark that has a number."""
_LANE = 40.0
"""The distance from one lane to the next."""
_MIDDLE = 26.0
"""The distance from the top of a lane to the middle of its bar. The title is above the bar."""
_BETWEEN = 12.0
"""The distance from one connection to the next."""
_BAR = 8.0
_LEAST = 2.0
"""The width of a bar for something that took no time."""
_COLUMN = 3
"""Messages that are closer than this share one stroke."""
_LINE = 17.0
"""The distance from one line of text to the next."""

_OUTLINED = "outlined: winding down"
_DOTTED = "dotted: not to scale"
_BULLET = " \N{MIDDLE DOT} "


@dataclass(frozen=True, slots=True)
class Box:
    """A bar of a task or of the connection."""

    x: float
    y: float
    width: float
    height: float
    style: BoxStyle
    outlined: bool = False


@dataclass(frozen=True, slots=True)
class Stroke:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    style: LineStyle
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of a moment: a disc, with its number if there is room for it."""

    x: float
    y: float
    radius: float
    text: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text."""

    x: float
    y: float
    text: str
    style: Style
    anchor: Anchor = "start"
    note: str = ""
    """Text that follows, in the style of a note."""


@dataclass(slots=True)
class Picture:
    """The shapes to draw. Each kind is drawn over the previous one."""

    width: float
    height: float = 0
    strokes: list[Stroke] = field(default_factory=list[Stroke])
    boxes: list[Box] = field(default_factory=list[Box])
    marks: list[Mark] = field(default_factory=list[Mark])
    texts: list[Text] = field(default_factory=list[Text])


def layout(stories: Sequence[Story], title: str | None, width: float) -> Picture:
    """Lay out the picture.

    Args:
        stories: One or more connections, of one recorder.
        title: The title above the picture.
        width: The width of the picture. The height depends on the content.
    """
    draft = _Draft(stories, width)
    draft.write_title(title or "")
    draft.draw_stories()
    draft.draw_axis()
    draft.write_moments()
    return draft.picture


class _Draft:
    """The unfinished picture, which is laid out from top to bottom."""

    def __init__(self, stories: Sequence[Story], width: float) -> None:
        self.picture = Picture(width, MARGIN)
        self._right = width - MARGIN
        self._axis = Axis(stories, MARGIN, self._right - RADIUS)
        self._radius = min(RADIUS, self._axis.gap / 2 - 1)
        letters = [_letter(number) if len(stories) > 1 else "" for number in range(len(stories))]
        self._stories = list(zip(letters, stories, strict=True))
        self._moments = sorted(
            ((moment, letter) for letter, story in self._stories for moment in story.moments),
            key=lambda pair: pair[0].at,
        )
        self._number = {pair[0].at: str(number) for number, pair in enumerate(self._moments, 1)}
        self._outlines = False

    def _write(self, x: float, y: float, text: str, style: Style, anchor: Anchor = "start") -> None:
        self.picture.texts.append(Text(x, y, text, style, anchor))

    def write_title(self, title: str) -> None:
        """Write the title."""
        if title:
            self._write_lines(MARGIN, title, "title")
            self.picture.height += 10

    def draw_stories(self) -> None:
        """Draw the lanes of every connection, with their moments."""
        for letter, story in self._stories:
            top = self.picture.height
            middles = {lane: top + _MIDDLE + row * _LANE for row, lane in enumerate(story.lanes)}
            self.picture.height += _LANE * len(story.lanes) + _BETWEEN
            bottom = self.picture.height - _BETWEEN
            for lane, y in middles.items():
                self._draw_lane(lane, y, story, letter if lane is story.lanes[0] else "")
            for moment in story.moments:
                x, y = self._axis.place(moment.at), middles[moment.lane]
                self._mark(x, y, self._radius, moment)
                if moment.cuts:
                    self.picture.strokes.append(
                        Stroke(x, top + _MIDDLE, x, bottom, "cut", moment.tone)
                    )

    def _draw_lane(self, lane: Lane, y: float, story: Story, letter: str) -> None:
        note = f"{_BULLET}{lane.note}" if lane.note else ""
        room = self._right - MARGIN - text_width(note, SIZES["note"])
        title = truncated(f"{letter} {lane.title}".strip(), SIZES["lane"], room)
        self.picture.texts.append(Text(MARGIN, y - _MIDDLE + 12, title, "lane", note=note))
        style: BoxStyle = "link" if lane is story.lanes[0] else "task"
        for span in lane.spans:
            self._draw_span(span, y, style)
        if not lane.spans:
            ends = self._axis.place(story.begin), self._axis.place(story.end)
            self.picture.strokes.append(Stroke(ends[0], y + _BAR / 2, ends[1], y + _BAR / 2, "way"))
            self._draw_messages(lane, y + _BAR / 2)

    def _draw_span(self, span: Span, y: float, style: BoxStyle) -> None:
        x1 = self._axis.place(span.begin)
        x3 = self._axis.end if span.end is None else self._axis.place(span.end)
        x2 = x3 if span.notified is None else self._axis.place(span.notified)
        self._box(x1, x2, y, style)
        if span.notified is not None:
            self._outlines = True
            self._box(x2, x3, y, style, outlined=True)

    def _box(
        self, x1: float, x2: float, y: float, style: BoxStyle, *, outlined: bool = False
    ) -> None:
        width = max(x2 - x1, _LEAST)
        self.picture.boxes.append(Box(x1, y - _BAR / 2, width, _BAR, style, outlined))

    def _draw_messages(self, lane: Lane, y: float) -> None:
        """Draw a stroke for each message, and a higher one for messages that are close together."""
        columns = Counter(round(self._axis.place(at) / _COLUMN) for at in lane.messages)
        for column, messages in sorted(columns.items()):
            x, height = column * _COLUMN, min(6 + 2 * log2(messages), 14)
            self.picture.strokes.append(Stroke(x, y, x, y - height, "message"))

    def _mark(self, x: float, y: float, radius: float, moment: Moment) -> None:
        number = self._number[moment.at] if radius >= _READABLE else ""
        self.picture.marks.append(Mark(x, y, radius, number, moment.tone))

    def draw_axis(self) -> None:
        """Draw the time axis and the key."""
        y = self.picture.height
        dotted = False
        for x1, x2, to_scale in self._axis.pieces():
            dotted = dotted or not to_scale
            self.picture.strokes.append(Stroke(x1, y, x2, y, "axis" if to_scale else "dotted"))
        for label in self._axis.labels():
            self.picture.strokes.append(Stroke(label.x, y, label.x, y + 4, "axis"))
            self._write(label.left + label.width / 2, y + 16, label.text, "label", "middle")
        self.picture.height += 22
        keys = [*([_OUTLINED] if self._outlines else []), *([_DOTTED] if dotted else [])]
        self._write_lines(MARGIN, _BULLET.join(keys), "key")
        self.picture.height += 8

    def write_moments(self) -> None:
        """Write the moments as text."""
        times = self._times()
        widest = max((text_width(time, SIZES["time"]) for time in times), default=0)
        column = MARGIN + 2 * RADIUS + 8 + widest
        for (moment, letter), time in zip(self._moments, times, strict=True):
            self._mark(MARGIN + RADIUS, self.picture.height + _LINE - 5, RADIUS, moment)
            self._write(column, self.picture.height + _LINE, time, "time", "end")
            said = f"{letter}: {moment.text}" if letter else moment.text
            self._write_lines(column + 10, said, "row")
            for number, detail in enumerate(moment.details):
                self._write_lines(
                    column + 10, f"{ARROW.lstrip()}{detail}" if number else detail, "detail"
                )
            self.picture.height += 5
        forgotten = sum(story.forgotten for _, story in self._stories)
        if forgotten:
            entries = counted(forgotten, "older entry", "older entries")
            self._write_lines(MARGIN, f"{entries} not kept", "key")
        self.picture.height += MARGIN - 5

    def _times(self) -> list[str]:
        """Return the time of every moment, or how much later it was if the texts are equal."""
        first = min(story.begin for _, story in self._stories)
        times: list[str] = []
        before, said = first.time, ""
        for moment, _ in self._moments:
            text = duration(moment.at.time - first.time)
            later = f"+{duration(moment.at.time - before)}" if moment.at.time > before else ""
            times.append(later if text == said else text)
            before, said = moment.at.time, text
        return times

    def _write_lines(self, x: float, text: str, style: Style) -> None:
        for line in wrapped(text, SIZES[style], self._right - x) if text else []:
            self.picture.height += _LINE
            self._write(x, self.picture.height, line, style)


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else str(number + 1)
