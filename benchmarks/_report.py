"""The tables and the picture of the documentation, made from the JSON of the results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ._picture import draw

_Row: TypeAlias = Mapping[str, Any]


def report(directory: Path) -> list[Path]:
    """Write the tables and the picture next to the results in a directory. Return the files."""
    written: list[Path] = []
    for kind, tables in _TABLES.items():
        source = directory / f"{kind}.json"
        if not source.exists():
            continue
        result = json.loads(source.read_text())
        target = source.with_suffix(".md")
        parts = [*tables(result["rows"]), _origin(kind, result["environment"])]
        target.write_text("\n".join(parts))
        written.append(target)
        if kind == "inprocess":
            picture = directory / "ratios.svg"
            smallest = min(row["size"] for row in result["rows"])
            rows = [row for row in result["rows"] if row["size"] == smallest]
            draw(rows, result["environment"], picture)
            written.append(picture)
    return written


def _origin(kind: str, environment: _Row) -> str:
    versions = ", ".join(
        f"{name} {version}" for name, version in environment["versions"].items() if version
    )
    return (
        f"<small>`python -m benchmarks {kind}`, {environment['date']}: {environment['processor']}, "
        f"{environment['cores']} cores, {environment['system']}, {environment['python']}; "
        f"{versions}.</small>\n"
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _groups(rows: Sequence[_Row], *keys: str) -> Iterator[tuple[tuple[Any, ...], list[_Row]]]:
    for key in dict.fromkeys(tuple(row[name] for name in keys) for row in rows):
        yield key, [row for row in rows if tuple(row[name] for name in keys) == key]


def _inprocess(rows: Sequence[_Row]) -> Iterator[str]:
    for (server, backend, size), group in _groups(rows, "server", "backend", "size"):
        yield f"**{server}, {backend}, {size} bytes**: ratio to raw (quartiles); raw: CPU µs\n"
        shapes = list(dict.fromkeys(row["shape"] for row in group))
        yield _table(["", *shapes], [[app, *map(_ratio, cells)] for (app,), cells in _apps(group)])


def _apps(rows: Sequence[_Row]) -> Iterator[tuple[tuple[Any, ...], list[_Row]]]:
    return _groups(rows, "app")


def _ratio(row: _Row) -> str:
    if row["app"] == "raw":
        return f"{row['microseconds']['median']:.0f} µs"
    ratio = row["ratio"]
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"


def _switches(rows: Sequence[_Row]) -> Iterator[str]:
    for (server, backend), group in _groups(rows, "server", "backend"):
        raw = {row["shape"]: row for row in group if row["app"] == "raw"}
        what = "tasks resumed" if backend == "trio" else "callbacks scheduled"
        yield f"**{server}, {backend}**: {what} / Python calls per message, beyond raw\n"
        yield _table(
            ["", *raw],
            [
                [
                    app,
                    *(
                        f"{row['steps'] - raw[row['shape']]['steps']:+.1f} / "
                        f"{row['calls'] - raw[row['shape']]['calls']:+.0f}"
                        for row in cells
                    ),
                ]
                for (app,), cells in _apps(group)
                if app != "raw"
            ],
        )


def _endtoend(rows: Sequence[_Row]) -> Iterator[str]:
    # The smallest messages of all servers come first: most readers need no more.
    ordered = sorted(rows, key=lambda row: row["size"])
    for (size, server), group in _groups(ordered, "size", "server"):
        names = [app for (app,), _ in _apps(group) if app != "raw"]
        yield f"**{server}, {size} bytes**: ratio of the server's CPU time to raw\n"
        yield _table(
            [
                "traffic, connections",
                "raw: CPU µs",
                "raw: per second",
                "raw: p50 / p99 ms",
                *names,
                "wsnursery: p50 / p99 ms",
                "load's CPU",
            ],
            [
                _case({row["app"]: row for row in cells}, names)
                for _, cells in _groups(group, "shape", "connections")
            ],
        )


def _case(cells: dict[str, _Row], names: list[str]) -> list[str]:
    raw = cells["raw"]
    return [
        f"{raw['shape']}, {raw['connections']:,}",
        f"{raw['microseconds']['median']:.0f}",
        f"{raw['per_second']:,.0f}",
        _latency(raw),
        *(f"{cells[name]['ratio']['median']:.2f}" if name in cells else "" for name in names),
        _latency(cells["wsnursery"]),
        f"{max(row['load_share'] for row in cells.values()):.0%}",
    ]


def _latency(row: _Row) -> str:
    return "" if row["p50"] is None else f"{row['p50']:.3g} / {row['p99']:.3g}"


def _memory(rows: Sequence[_Row]) -> Iterator[str]:
    raw = {row["server"]: row for row in rows if row["app"] == "raw"}
    yield _table(
        ["KB per connection beyond raw", "app", "after the handshake", "after one echo"],
        [
            [
                row["server"],
                row["app"],
                *(
                    f"{(row[when] - raw[row['server']][when]) / 1e3:+.1f}"
                    for when in ("accepted", "used")
                ),
            ]
            for row in rows
            if row["app"] != "raw"
        ],
    )


def _teardown(rows: Sequence[_Row]) -> Iterator[str]:
    yield _table(
        ["server", "app", "clients", "CPU s", "CPU µs per client"],
        [
            [
                row["server"],
                row["app"],
                f"{row['connections']:,}",
                f"{row['cpu']:.2f}",
                f"{row['cpu'] / row['connections'] * 1e6:.0f}",
            ]
            for row in rows
        ],
    )


def _cycles(rows: Sequence[_Row]) -> Iterator[str]:
    yield _table(
        ["server", "app", "connections so far", "tasks", "descriptors", "objects", "MB"],
        [
            [
                row["server"],
                row["app"],
                f"{row['cycles']:,}",
                str(row["tasks"]),
                str(row["descriptors"]),
                f"{row['objects']:,}",
                f"{row['megabytes']:.1f}",
            ]
            for (_, _), group in _groups(rows, "server", "app")
            for row in (group[0], group[len(group) // 2], group[-1])
        ],
    )


def _scaling(rows: Sequence[_Row]) -> Iterator[str]:
    yield _table(
        ["what", "loop", "app", "number: CPU µs for each", "slope"],
        [
            [
                row["what"],
                row["backend"],
                row["app"],
                ", ".join(f"{int(n):,}: {cost:.1f}" for n, cost in row["microseconds"].items()),
                f"{row['slope']:.2f}",
            ]
            for row in rows
        ],
    )


def _broadcast(rows: Sequence[_Row]) -> Iterator[str]:
    numbers = dict.fromkeys(row["members"] for row in rows)
    yield _table(
        ["server", "loop", "app", *(f"{number:,} members" for number in numbers)],
        [
            [server, backend, app, *map(_ratio, cells)]
            for (server, backend, app), cells in _groups(rows, "server", "backend", "app")
        ],
    )


_TABLES: dict[str, Callable[[Sequence[_Row]], Iterator[str]]] = {
    "inprocess": _inprocess,
    "switches": _switches,
    "endtoend": _endtoend,
    "memory": _memory,
    "teardown": _teardown,
    "cycles": _cycles,
    "scaling": _scaling,
    "broadcast": _broadcast,
}
