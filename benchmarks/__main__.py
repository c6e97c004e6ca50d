"""The command line: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from . import _counting, apps
from ._compare import Cell, compare, show
from ._environment import environment
from ._inprocess import Plan
from ._serving import SERVERS
from ._shapes import SHAPES


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    inprocess = commands.add_parser(
        "inprocess", help="servers and client in one thread: exact ratios, no throughput"
    )
    inprocess.set_defaults(run=_inprocess)
    _add_choices(inprocess)
    inprocess.add_argument("--size", type=int, default=64, help="bytes of a message")
    inprocess.add_argument("--seconds", type=float, default=12, help="for each server and loop")
    inprocess.add_argument("--json", type=Path, help="write the results there")
    switches = commands.add_parser("switches", help="task switches and calls per message, exactly")
    switches.set_defaults(run=_switches)
    _add_choices(switches)
    return parser


def _add_choices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", type=_names(list(SERVERS)), default=tuple(SERVERS))
    parser.add_argument("--server", type=_names(["hypercorn", "uvicorn"]), default=("hypercorn",))
    parser.add_argument(
        "--apps", type=_names(list(apps.BACKENDS)), default=("raw", "wsnursery", "starlette")
    )
    parser.add_argument("--shapes", type=_names(list(SHAPES)), default=tuple(SHAPES))


def _runs(arguments: argparse.Namespace) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The backends and servers that were chosen, and the applications that run there."""
    chosen = dict.fromkeys(("raw", *arguments.apps))
    for backend in arguments.backend:
        fitting = tuple(app for app in chosen if backend in apps.BACKENDS[app])
        for server in arguments.server:
            if server in SERVERS[backend]:
                yield backend, server, fitting


def _inprocess(arguments: argparse.Namespace) -> None:
    console = Console()
    cells: list[Cell] = []
    shapes, size, seconds = arguments.shapes, arguments.size, arguments.seconds
    with Progress(console=console, transient=True) as progress:
        for backend, server, fitting in _runs(arguments):
            cells += compare(Plan(backend, server, fitting, shapes, size, seconds), progress)
    show(cells, console)
    if arguments.json:
        result = {"environment": environment(), "cells": [asdict(cell) for cell in cells]}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def _switches(arguments: argparse.Namespace) -> None:
    console = Console()
    for backend, server, fitting in _runs(arguments):
        counts = _counting.count(backend, server, fitting, arguments.shapes)
        _counting.show(backend, server, counts, console)


def main() -> None:
    """Run a command."""
    arguments = _parser().parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
