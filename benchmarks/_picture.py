"""The ratios to the raw loop as a picture: an SVG file for narrow screens, light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

_Row = Mapping[str, Any]

WIDTH = 360
"""Units, which are pixels on a phone, so that a text of 12 units is legible there."""

_LEFT, _RIGHT, _LINE, _HEAD = 84, 316, 24, 34
_END = 1.2
"""The largest ratio for which there is room."""

_STYLE = """\
text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
.head,.ours-number{font-weight:600}
.small{font-size:11px}
.back{fill:#fff}.text{fill:#1f2328}.dim{fill:#59636e}.ours{fill:#1a7f37}
.other{fill:#8c959f;fill-opacity:.75}.floor{stroke:#1f2328}.track{stroke:#d1d9e0}.one{stroke:#59636e}
@media (prefers-color-scheme:dark){
.back{fill:#0d1117}.text{fill:#e6edf3}.dim{fill:#9198a1}.ours{fill:#3fb950}
.other{fill:#9198a1}.floor{stroke:#e6edf3}.track{stroke:#30363d}.one{stroke:#9198a1}
}"""
"""The colours of the timelines: a contrast of at least 4.5 to 1 for texts."""


def draw(rows: Sequence[_Row], environment: Mapping[str, Any], path: Path) -> None:
    """Draw the results of `inprocess`.

    Args:
        rows: its cells, as in its JSON.
        environment: named below the picture.
        path: of the SVG file.
    """
    parts = list(_parts(rows, environment))
    height = 20 + len({(row["server"], row["backend"]) for row in rows}) * _HEAD
    height += len({(row["server"], row["backend"], row["shape"]) for row in rows}) * _LINE + 74
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}">\n<style>{_STYLE}</style>\n'
        f'<rect class="back" width="{WIDTH}" height="{height}" rx="8"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n",
        encoding="utf-8",
    )


def _parts(rows: Sequence[_Row], environment: Mapping[str, Any]) -> Iterator[str]:
    y = 20
    for server, backend in dict.fromkeys((row["server"], row["backend"]) for row in rows):
        yield _text(12, y + 4, f"{server} on {backend}", "text head")
        y += _HEAD - 10
        group = [row for row in rows if (row["server"], row["backend"]) == (server, backend)]
        for shape in dict.fromkeys(row["shape"] for row in group):
            yield from _line(y, shape, [row for row in group if row["shape"] == shape])
            y += _LINE
        y += 10
    yield from _legend(y, environment)


def _line(y: int, shape: str, rows: Sequence[_Row]) -> Iterator[str]:
    """One shape of traffic: every library is a dot, and ours is the large one."""
    ratios = {row["app"]: row["ratio"]["median"] for row in rows}
    yield _text(12, y + 4, shape, "dim")
    yield f'<path class="track" d="M{_LEFT} {y}H{_RIGHT}"/>'
    yield f'<path class="one" d="M{_x(1):.1f} {y - 9}V{y + 9}"/>'
    for app, ratio in ratios.items():
        if app not in ("raw", "floor", "wsnursery"):
            name = app.replace("_", "-")
            yield _dot(_x(ratio), y, 3.5, "other", f"{name}: {ratio:.2f}")
    floor = _x(ratios["floor"])
    yield f'<path class="floor" stroke-width="1.5" d="M{floor:.1f} {y - 5}V{y + 5}"/>'
    ours = ratios["wsnursery"]
    yield _dot(_x(ours), y, 6, "ours", f"wsnursery: {ours:.2f}")
    yield _text(_RIGHT + 8, y + 4, f"{ours:.2f}", "ours ours-number")


def _legend(y: int, environment: Mapping[str, Any]) -> Iterator[str]:
    yield _dot(18, y, 6, "ours", "wsnursery")
    yield _text(30, y + 4, "wsnursery, and its figure on the right", "text small")
    yield _dot(18, y + 18, 3.5, "other", "other libraries")
    yield _text(30, y + 22, "other libraries    |  1.00, the hand-written loop", "dim small")
    yield f'<path class="floor" stroke-width="1.5" d="M18 {y + 31}V{y + 41}"/>'
    yield _text(30, y + 40, "floor: the loop with the switches that are needed", "dim small")
    made = f"{environment['python']}, {environment['processor']}, {environment['date']}"
    yield _text(12, y + 60, made, "dim small")


def _x(ratio: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * min(ratio, _END) / _END


def _dot(x: float, y: float, radius: float, kind: str, title: str) -> str:
    name = escape(title)
    return (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y}" r="{radius}"><title>{name}</title></circle>'
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'
