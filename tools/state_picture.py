"""docs/pictures/states.svg: the state machine, drawn from `wsnursery._engine.states.TRANSITIONS`.

    python -m tools.state_picture          write it

Which states and events there are, and what leads where, comes from the table. What stands where is
below, by hand; a transition without a place is an error.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from wsnursery._engine.states import TRANSITIONS, State, Transition

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "states.svg"

WIDTH, HEIGHT = 680, 664
LINE = 16
"""Pixels from one line of text to the next."""


@dataclass(frozen=True)
class Box:
    """Where a state stands."""

    left: int
    middle: int
    width: int
    height: int


@dataclass(frozen=True)
class Route:
    """The way of a transition as an SVG path, and where its label is anchored."""

    path: str
    x: int
    y: int
    anchor: str = "middle"


BOXES = {
    State.CONNECTING: Box(24, 92, 150, 56),
    State.REQUESTED: Box(24, 262, 150, 56),
    State.ACCEPTING: Box(24, 422, 150, 56),
    State.OPEN: Box(24, 596, 150, 82),
    State.REJECTED: Box(236, 177, 150, 66),
    State.CLOSING: Box(236, 512, 150, 82),
    State.CLOSED: Box(508, 350, 150, 574),
}

ROUTES = {
    (State.CONNECTING, State.REQUESTED): Route("M99 120V232", 107, 180, "start"),
    (State.CONNECTING, State.REJECTED): Route("M174 102H301a10 10 0 0 1 10 10V142", 242, 118),
    (State.CONNECTING, State.CLOSED): Route("M174 82H506", 445, 76),
    (State.REQUESTED, State.ACCEPTING): Route("M79 290V392", 71, 345, "end"),
    (State.REQUESTED, State.REJECTED): Route("M174 250H301a10 10 0 0 0 10 -10V212", 242, 244),
    (State.REQUESTED, State.CLOSED): Route("M174 274H506", 445, 268),
    (State.ACCEPTING, State.REQUESTED): Route("M119 394V292", 127, 345, "start"),
    (State.ACCEPTING, State.OPEN): Route("M99 450V553", 107, 508, "start"),
    (State.ACCEPTING, State.CLOSING): Route("M174 434H301a10 10 0 0 1 10 10V469", 242, 450),
    (State.ACCEPTING, State.CLOSED): Route("M174 410H506", 445, 404),
    (State.OPEN, State.CLOSING): Route("M174 584H301a10 10 0 0 0 10 -10V555", 242, 578),
    (State.OPEN, State.CLOSED): Route("M174 608H506", 445, 602),
    (State.REJECTED, State.CLOSED): Route("M386 177H506", 445, 171),
    (State.CLOSING, State.CLOSED): Route("M386 512H506", 445, 506),
}

STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1d2733 }
.paper { fill: #fff }
.box { fill: #eaf1fb; stroke: #2f6fbf; stroke-width: 1.5 }
.end { fill: #f1f1f1; stroke: #6b7280 }
.name { font-weight: 600; font-size: 14px }
.small { font-size: 12px; fill: #4b5563 }
.way { fill: none; stroke: #4b5563; stroke-width: 1.5; marker-end: url(#arrow) }
.head { fill: #4b5563 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6e9ee }
  .paper { fill: #15191f }
  .box { fill: #1d2b3f; stroke: #6aa6f0 }
  .end { fill: #262a31; stroke: #9aa3af }
  .small { fill: #b4bcc8 }
  .way { stroke: #aab3c0 }
  .head { fill: #aab3c0 }
}"""


def grouped(
    table: Mapping[State, Mapping[Transition, State]],
) -> dict[tuple[State, State], list[Transition]]:
    """The events that lead from one state to another."""
    events: dict[tuple[State, State], list[Transition]] = {}
    for before, transitions in table.items():
        for event, after in transitions.items():
            events.setdefault((before, after), []).append(event)
    return events


def words(events: Iterable[Transition]) -> str:
    """Events as the label of an arrow."""
    return ", ".join(event.value for event in events)


def described(events: Mapping[tuple[State, State], list[Transition]]) -> str:
    """The whole table in words, for those who cannot see the picture."""
    return "; ".join(
        f"from {before.value} to {after.value}: {words(labels)}"
        if before is not after
        else f"without leaving {before.value}: {words(labels)}"
        for (before, after), labels in events.items()
    )


def drawn_box(state: State, box: Box, idle: list[Transition]) -> Iterable[str]:
    """A state, and in it the events that leave it as it is."""
    top = box.middle - box.height // 2
    kind = "box end" if state is State.CLOSED else "box"
    yield (
        f'<rect class="{kind}" x="{box.left}" y="{top}" width="{box.width}" '
        f'height="{box.height}" rx="9"/>'
    )
    x = box.left + box.width // 2
    y = box.middle - LINE * len(idle) // 2 + 5
    yield f'<text class="name" x="{x}" y="{y}" text-anchor="middle">{state.value}</text>'
    for number, event in enumerate(idle, 1):
        yield (
            f'<text class="small" x="{x}" y="{y + LINE * number}" text-anchor="middle">'
            f"↻ {escape(event.value)}</text>"
        )


def drawn_way(route: Route, events: list[Transition]) -> Iterable[str]:
    """A transition."""
    yield f'<path class="way" d="{route.path}"/>'
    place = f'x="{route.x}" y="{route.y}" text-anchor="{route.anchor}"'
    yield f"<text {place}>{escape(words(events))}</text>"


def picture(table: Mapping[State, Mapping[Transition, State]] = TRANSITIONS) -> str:
    """The state machine as an SVG."""
    events = grouped(table)
    ways = {pair for pair in events if pair[0] is not pair[1]}
    if ways != ROUTES.keys() or table.keys() != BOXES.keys():
        odd = sorted(f"{a.value} to {b.value}" for a, b in ways ^ ROUTES.keys())
        raise ValueError(f"the table and the places in this file differ: {odd}")
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' role="img" aria-labelledby="title description">',
        '<title id="title">The states of a WebSocket</title>',
        f'<desc id="description">{escape(described(events))}.</desc>',
        f"<style>\n{STYLE}\n</style>",
        '<marker id="arrow" viewBox="0 0 10 10" refX="8" refY="5"',
        ' markerWidth="8" markerHeight="8" orient="auto">',
        '<path class="head" d="M0 0L10 5L0 10z"/></marker>',
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="12"/>',
        '<circle class="head" cx="99" cy="30" r="6"/><path class="way" d="M99 30V62"/>',
        '<text class="small" x="114" y="34">the block is entered</text>',
    ]
    for pair, route in ROUTES.items():
        lines += drawn_way(route, events[pair])
    for state, box in BOXES.items():
        lines += drawn_box(state, box, events.get((state, state), []))
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
