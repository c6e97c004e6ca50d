"""The picture of a timeline as SVG: one element for each shape of `_layout`."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from wsnursery._errors import escaped

from ._layout import SIZES, Box, Mark, Picture, Stroke, Style, Text, layout
from ._recorder import Timeline
from ._story import Story, story_of
from ._words import ARROW

_SCALE = 1.25
"""How much the picture is enlarged where there is room for it."""

_LIGHT = {
    "back": "#ffffff",
    "text": "#1f2328",
    "dim": "#59636e",
    "line": "#8c959f",
    "task": "#0969da",
    "plain": "#59636e",
    "good": "#1a7f37",
    "warn": "#9a6700",
    "bad": "#cf222e",
}
"""Texts have a contrast of at least 4.5 to 1 with their background, lines of 3 to 1."""

_DARK = {
    "back": "#0d1117",
    "text": "#e6edf3",
    "dim": "#9198a1",
    "line": "#656c76",
    "task": "#4493f8",
    "plain": "#9198a1",
    "good": "#3fb950",
    "warn": "#d29922",
    "bad": "#f85149",
}

_COLOURS = [
    (".wsn-back,.wsn-number", "fill", "back"),
    (".wsn-lane,.wsn-note", "stroke", "back"),
    (".wsn-title,.wsn-lane,.wsn-row", "fill", "text"),
    (".wsn-note,.wsn-label,.wsn-key,.wsn-time,.wsn-detail", "fill", "dim"),
    (".wsn-link", "fill", "dim"),
    (".wsn-task", "fill", "task"),
    (".wsn-outlined", "fill", "back"),
    (".wsn-link.wsn-outlined", "stroke", "dim"),
    (".wsn-task.wsn-outlined", "stroke", "task"),
    (".wsn-way,.wsn-axis,.wsn-dotted", "stroke", "line"),
    (".wsn-message", "stroke", "task"),
    *((f"circle.wsn-{tone}", "fill", tone) for tone in ("plain", "good", "warn", "bad")),
    *((f".wsn-cut.wsn-{tone}", "stroke", tone) for tone in ("plain", "good", "warn", "bad")),
]

_SHAPES = """\
.wsn-timeline text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
.wsn-title,.wsn-lane{font-weight:600}
.wsn-number{font-weight:700}
.wsn-note{font-weight:400}
.wsn-time,.wsn-label,.wsn-note{font-variant-numeric:tabular-nums}
.wsn-lane,.wsn-note{stroke-width:4px;stroke-linejoin:round;paint-order:stroke}
.wsn-cut{stroke-dasharray:3 3}
.wsn-message{stroke-width:1.5}
.wsn-axis,.wsn-dotted{stroke-width:1.5}
.wsn-dotted{stroke-dasharray:1.5 3}
"""


def svg(*timelines: Timeline, title: str | None = None, width: float = 420) -> str:
    """Draw the events of connections as SVG.

    The picture is self-contained: no script, no font, no other file. It follows the dark or light
    mode of the reader, and has a description for screen readers. You can put it into a file, or
    into a page, also several times. Text from peers is escaped. Equal input gives equal output.

    Args:
        timelines: The timelines, from `Recorder.timeline` or `Recorder.timelines`, all of one
            recorder. They share one axis.
        title: The title above the picture.
        width: The width, in units in which text is 11 to 16 high (at least 240). It is shown up to
            1.25 times that size, in pixels, and shrinks with the page. The default of 420 is
            legible on a phone. Use more where there is more room.

    Returns:
        An ``<svg>`` element.

    Raises:
        ValueError: There is no timeline, or ``width`` is too small.
    """
    if not timelines:
        raise ValueError(
            "svg() needs at least one timeline, got none: has the recorder seen a connection?"
        )
    if width < 240:
        raise ValueError(f"width must be at least 240, got {width}")
    stories = [story_of(timeline) for timeline in timelines]
    heading = escaped(title or "")
    picture = layout(stories, heading, width)
    name = heading or ", ".join(story.lanes[0].title for story in stories)
    return "\n".join(_lines(picture, name, _description(stories)))


def _description(stories: list[Story]) -> str:
    said = (
        ARROW.join([moment.text, *moment.details]) for story in stories for moment in story.moments
    )
    return "; ".join(said)


def _lines(picture: Picture, name: str, description: str) -> Iterator[str]:
    width, height = _number(picture.width), _number(picture.height)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="wsn-timeline" role="img"'
        f' viewBox="0 0 {width} {height}" width="{_number(picture.width * _SCALE)}"'
        f' height="{_number(picture.height * _SCALE)}" style="max-width:100%;height:auto">'
    )
    yield f"<title>{escape(name)}</title>"
    yield f"<desc>{escape(description)}</desc>"
    yield f"<style>\n{_STYLE}</style>"
    yield f'<rect class="wsn-back" width="{width}" height="{height}" rx="8"/>'
    yield from map(_stroke, picture.strokes)
    yield from map(_box, picture.boxes)
    for mark in picture.marks:
        yield from _mark(mark)
    yield from map(_text, picture.texts)
    yield "</svg>"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _stroke(stroke: Stroke) -> str:
    tone = f" wsn-{stroke.tone}" if stroke.style == "cut" else ""
    return (
        f'<path class="wsn-{stroke.style}{tone}" d="M{_number(stroke.x1)} {_number(stroke.y1)}'
        f'L{_number(stroke.x2)} {_number(stroke.y2)}"/>'
    )


def _box(box: Box) -> str:
    style = f"wsn-{box.style} wsn-outlined" if box.outlined else f"wsn-{box.style}"
    return (
        f'<rect class="{style}" x="{_number(box.x)}" y="{_number(box.y)}"'
        f' width="{_number(box.width)}" height="{_number(box.height)}" rx="1"/>'
    )


def _mark(mark: Mark) -> Iterator[str]:
    x, y = _number(mark.x), _number(mark.y)
    yield f'<circle class="wsn-{mark.tone}" cx="{x}" cy="{y}" r="{_number(mark.radius)}"/>'
    if mark.text:
        middle = Text(mark.x, mark.y + 3.5, mark.text, "number", "middle")
        yield _text(middle)


def _text(text: Text) -> str:
    anchor = "" if text.anchor == "start" else f' text-anchor="{text.anchor}"'
    note = f"<tspan{_styled('note')}>{escape(text.note)}</tspan>" if text.note else ""
    return (
        f'<text{_styled(text.style)} x="{_number(text.x)}" y="{_number(text.y)}"{anchor}>'
        f"{escape(text.text)}{note}</text>"
    )


def _styled(style: Style) -> str:
    return f' class="wsn-{style}" font-size="{_number(SIZES[style])}"'


def _rules(palette: dict[str, str]) -> str:
    return "".join(f"{where}{{{what}:{palette[name]}}}\n" for where, what, name in _COLOURS)


_STYLE = f"{_SHAPES}{_rules(_LIGHT)}@media (prefers-color-scheme: dark){{\n{_rules(_DARK)}}}\n"
