"""`python -m benchmarks inprocess`: several measuring processes, and their combined result."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from time import monotonic

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ._inprocess import Plan, Round
from ._statistics import Spread

PROCESSES = 3
"""The number of processes, because the memory layout makes a whole process a few per cent faster or
slower."""


@dataclass(frozen=True)
class Cell:
    """One application with one shape of traffic.

    Attributes:
        microseconds: CPU time of the server's thread per message.
        ratio: of the raw loop's time in the same round to this; higher is better.
    """

    backend: str
    server: str
    size: int
    shape: str
    app: str
    microseconds: Spread
    ratio: Spread


def compare(plan: Plan, progress: Progress) -> list[Cell]:
    """Measure in several processes, one after the other."""
    title = f"{plan.server}, {plan.backend}, {plan.size} B"
    task = progress.add_task(title, total=plan.seconds)
    part = replace(plan, seconds=plan.seconds / PROCESSES)
    rounds: list[Round] = []
    for number in range(PROCESSES):
        began = None
        for times in _process(part):
            rounds.append(times)
            began = began or monotonic()
            done = min(part.seconds, monotonic() - began)
            progress.update(task, completed=number * part.seconds + done)
    progress.update(task, completed=plan.seconds)
    return [_cell(plan, shape, app, rounds) for shape in plan.shapes for app in plan.apps]


def _process(plan: Plan) -> Iterator[Round]:
    command = [sys.executable, "-m", "benchmarks._inprocess", json.dumps(asdict(plan))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise SystemExit(f"The measuring process ended with {process.returncode}; see above.")


def _cell(plan: Plan, shape: str, app: str, rounds: list[Round]) -> Cell:
    times = [each[shape][app] for each in rounds]
    raw = [each[shape]["raw"] for each in rounds]
    return Cell(
        plan.backend,
        plan.server,
        plan.size,
        shape,
        app,
        Spread.of(time * 1e6 for time in times),
        Spread.of(base / time for base, time in zip(raw, times, strict=True)),
    )


def show(cells: list[Cell], console: Console) -> None:
    """A table for each event loop and server, an application a line."""
    groups: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.backend, cell.server, cell.size), []).append(cell)
    for (backend, server, size), group in groups.items():
        shapes = list(dict.fromkeys(cell.shape for cell in group))
        title = f"{server}, {backend}, {size} B: ratio to raw (quartiles), CPU µs per message"
        table = Table("", *shapes, title=title, title_justify="left")
        for app in dict.fromkeys(cell.app for cell in group):
            found = {cell.shape: cell for cell in group if cell.app == app}
            table.add_row(app, *(_entry(found[shape]) for shape in shapes))
        console.print(table)


def _entry(cell: Cell) -> str:
    time, ratio = cell.microseconds, cell.ratio
    if cell.app == "raw":
        return f"{time.median:.1f} µs"
    return f"{ratio.median:.3f} ({ratio.low:.2f}-{ratio.high:.2f})  {time.median:.1f} µs"
