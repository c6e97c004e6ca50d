"""The counted cost of a message, which is the same in every run and on every machine."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.table import Table

from . import apps
from ._loops import run
from ._peer import Peer, Steps
from ._serving import serving
from ._shapes import SHAPES
from ._steps import StepCounter


@dataclass(frozen=True)
class Count:
    """The steps and calls of one application for a message, including the server and the client.

    Attributes:
        steps: tasks resumed (trio), or callbacks scheduled (asyncio).
        calls: Python functions called and coroutines resumed.
    """

    backend: str
    server: str
    shape: str
    app: str
    steps: float
    calls: float


class _CallCounter:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            self.calls += 1


def count(backend: str, server: str, names: Sequence[str], shapes: Sequence[str]) -> list[Count]:
    """Count in this process."""
    counts: list[Count] = []
    counter = StepCounter()
    with tempfile.TemporaryDirectory() as directory:
        addresses = {name: Path(directory, name) for name in names}
        servers = [
            serving(server, backend, apps.load(name), address)
            for name, address in addresses.items()
        ]

        def report(shape: str, app: str, steps: float, calls: float) -> None:
            counts.append(Count(backend, server, shape, app, steps, calls))

        run(backend, _script(addresses, shapes, counter, report), servers, counter)
    return counts


def _script(
    addresses: dict[str, Path],
    shapes: Sequence[str],
    counter: StepCounter,
    report: Callable[[str, str, float, float], None],
) -> Steps:
    for name in shapes:
        shape = SHAPES[name]
        for app, address in addresses.items():
            peer = Peer(address)
            yield from peer.open(shape.path)
            yield from shape.script(peer, shape.messages, "x" * 64)  # to warm up
            before, calls = counter.steps, _CallCounter()
            sys.setprofile(calls)
            yield from shape.script(peer, shape.messages, "x" * 64)
            sys.setprofile(None)
            steps = counter.steps - before
            report(name, app, steps / shape.messages, calls.calls / shape.messages)


def show(counts: list[Count], console: Console) -> None:
    """Tables for each event loop and server, an application a line."""
    for backend, server in dict.fromkeys((entry.backend, entry.server) for entry in counts):
        group = [entry for entry in counts if (entry.backend, entry.server) == (backend, server)]
        steps = "tasks resumed" if backend == "trio" else "callbacks scheduled"
        _show(f"{server}, {backend}: {steps} per message, and beyond raw", "steps", group, console)
        _show(f"{server}, {backend}: calls per message, and beyond raw", "calls", group, console)


def _show(title: str, what: str, counts: list[Count], console: Console) -> None:
    shapes = list(dict.fromkeys(entry.shape for entry in counts))
    found = {(entry.shape, entry.app): entry for entry in counts}
    table = Table("", *shapes, title=title, title_justify="left")
    for app in dict.fromkeys(entry.app for entry in counts):
        row: list[str] = []
        for shape in shapes:
            value = getattr(found[shape, app], what)
            row.append(f"{value:.2f}  {value - getattr(found[shape, 'raw'], what):+.2f}")
        table.add_row(app, *row)
    console.print(table)
