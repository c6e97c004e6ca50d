"""docs/pictures/house.svg: the folders of the package, drawn from the table in `tests.test_layers`.

    python -m tools.house_picture          write it

Which folders there are, and what each may import, comes from the table. The place of each folder is
below, by hand; a folder without a place is an error.
"""

import runpy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from tests.test_layers import GROUND, MAY_IMPORT

STYLE: str = runpy.run_path(str(Path(__file__).with_name("state_picture.py")))["STYLE"]
"""That of the picture of the states."""

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "house.svg"

WIDTH, HEIGHT = 720, 564

FLOOR_HEIGHT, BOX_HEIGHT = 96, 52
"""Pixels from one floor to the next, and of a box."""

TOP = 16
"""Pixels above the highest floor."""

BASE = "ground"
"""The single files that every folder may import; they stand in the table as `GROUND`."""


@dataclass(frozen=True)
class Place:
    """Where a folder stands, and what it is in a few words."""

    floor: int
    """From the top, beginning at 0."""
    left: int
    width: int
    words: str

    @property
    def top(self) -> int:
        """The upper edge, in pixels."""
        return TOP + self.floor * FLOOR_HEIGHT

    @property
    def bottom(self) -> int:
        """The lower edge, in pixels."""
        return self.top + BOX_HEIGHT

    @property
    def middle(self) -> int:
        """The middle between left and right, in pixels."""
        return self.left + self.width // 2


PLACES = {
    "testing": Place(0, 16, 128, "the testing kit"),
    "__main__": Place(0, 376, 128, "the commands"),
    "redis": Place(1, 104, 114, "shared rooms"),
    "wsnursery": Place(1, 226, 114, "public names"),
    "hypercorn": Place(1, 348, 114, "the server"),
    "_doctor": Place(1, 470, 114, "checks servers"),
    "starlette": Place(1, 592, 112, "and FastAPI"),
    "rooms": Place(2, 164, 112, "fan-out"),
    "asgi": Place(2, 340, 104, "ASGI servers"),
    "trio_websocket": Place(2, 452, 132, "without ASGI"),
    "transports": Place(2, 592, 112, "your own"),
    "_engine": Place(3, 164, 540, "one connection, without ASGI and without a server"),
    "timeline": Place(4, 16, 128, "recordings"),
    "_backend": Place(4, 164, 382, "what differs between asyncio and trio"),
    "opentelemetry": Place(4, 562, 142, "traces, metrics"),
    BASE: Place(5, 16, 688, ", ".join(sorted(GROUND))),
}


def direct(table: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
    """What each folder imports directly below it.

    An arrow to a folder that another arrow leads to already would show nothing new. What imports no
    folder stands on the ground.
    """
    reached: dict[str, set[str]] = {}

    def below(name: str) -> set[str]:
        if name not in reached:
            reached[name] = set(table[name]).union(*map(below, table[name]))
        return reached[name]

    return {
        name: {each for each in found if not any(each in below(other) for other in found)} or {BASE}
        for name, found in table.items()
    }


def described(table: Mapping[str, Collection[str]]) -> str:
    """The whole table in words, for those who cannot see the picture."""
    return "; ".join(
        f"{name} may import {', '.join(sorted(found)) or 'no other folder'}"
        for name, found in table.items()
    )


def drawn_box(name: str, place: Place) -> Iterable[str]:
    """A folder."""
    kind = "box end" if name.startswith("_") or name == BASE else "box"
    yield (
        f'<rect class="{kind}" x="{place.left}" y="{place.top}" width="{place.width}" '
        f'height="{BOX_HEIGHT}" rx="9"/>'
    )
    for style, y, text in (("name", 22, name), ("small", 40, place.words)):
        yield (
            f'<text class="{style}" x="{place.middle}" y="{place.top + y}" '
            f'text-anchor="middle">{escape(text)}</text>'
        )


def drawn_way(above: Place, below: Place) -> str:
    """An import: straight down where the boxes overlap, and in a curve where they do not."""
    start = min(max(below.middle, above.left + 14), above.left + above.width - 14)
    end = min(max(start, below.left + 14), below.left + below.width - 14)
    half = (above.bottom + below.top) // 2
    return (
        f'<path class="way" d="M{start} {above.bottom}'
        f'C{start} {half} {end} {half} {end} {below.top - 2}"/>'
    )


def picture(table: Mapping[str, Collection[str]] = MAY_IMPORT) -> str:
    """The house as an SVG."""
    if table.keys() | {BASE} != PLACES.keys():
        odd = sorted((table.keys() | {BASE}) ^ PLACES.keys())
        raise ValueError(f"the table and the places in this file differ: {odd}")
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' role="img" aria-labelledby="title description">',
        '<title id="title">The folders of the package, and what they import</title>',
        f'<desc id="description">{escape(described(table))}.</desc>',
        f"<style>\n{STYLE}\n</style>",
        '<marker id="arrow" viewBox="0 0 10 10" refX="8" refY="5"',
        ' markerWidth="8" markerHeight="8" orient="auto">',
        '<path class="head" d="M0 0L10 5L0 10z"/></marker>',
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="12"/>',
    ]
    for name, found in direct(table).items():
        lines += [drawn_way(PLACES[name], PLACES[below]) for below in sorted(found)]
    for name, place in PLACES.items():
        lines += drawn_box(name, place)
    return "\n".join([*lines, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
