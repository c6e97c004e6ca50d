"""What wsnursery costs, compared with a hand-written loop and other libraries."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.progress import Progress

from . import _broadcast, _compare, _counting, _rooms, _scaling, apps
from ._environment import environment
from ._inprocess import Plan
from ._report import report
from ._serving import SERVERS
from ._shapes import SHAPES
from .endtoend import _ceiling, _lifetime
from .endtoend import _compare as _endtoend
from .endtoend._host import SERVERS as HOSTS
from .endtoend._host import backend_of

_Run = Callable[[argparse.Namespace, Console], None]
_WIDTH = 130  # of tables that do not go to a terminal


def _names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return names

    return parse


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)

    def command(run: _Run, name: str, summary: str) -> Any:
        added = commands.add_parser(name, help=summary, description=summary)
        added.set_defaults(run=run)
        added.add_argument("--json", type=Path, help="write the results there")
        return added

    inprocess = command(_inprocess, "inprocess", "servers and client in one thread: exact ratios")
    inprocess.add_argument("--sizes", type=_numbers, default=(64,), help="bytes of a message")
    inprocess.add_argument("--seconds", type=float, default=12, help="for each server and loop")
    switches = command(_switches, "switches", "task switches and calls per message, counted")
    for each in (inprocess, switches):
        each.add_argument("--backend", type=_names(list(SERVERS)), default=tuple(SERVERS))
        each.add_argument("--server", type=_names(["hypercorn", "uvicorn"]), default=("hypercorn",))
        each.add_argument(
            "--apps", type=_names(list(apps.BACKENDS)), default=("raw", "wsnursery", "starlette")
        )
        each.add_argument("--shapes", type=_names(list(SHAPES)), default=tuple(SHAPES))

    endtoend = command(_run_endtoend, "endtoend", "servers in their own processes, over TCP")
    endtoend.add_argument("--shapes", type=_names(list(_endtoend.PATHS)), default=_endtoend.PATHS)
    endtoend.add_argument("--sizes", type=_numbers, default=(64,), help="bytes of a message")
    endtoend.add_argument("--connections", type=_numbers, default=(1, 100, 1000))
    endtoend.add_argument("--rounds", type=int, default=10)
    endtoend.add_argument("--seconds", type=float, default=0.1, help="of a round with raw")
    memory = command(_memory, "memory", "memory per idle connection")
    memory.add_argument("--connections", type=_numbers, default=(2000,))
    teardown = command(_teardown, "teardown", "clients that vanish all at once")
    teardown.add_argument("--connections", type=_numbers, default=(1250, 2500, 5000))
    cycles = command(_cycles, "cycles", "what is left after connections have come and gone")
    cycles.add_argument("--cycles", type=int, default=20_000)
    growth = command(_run_scaling, "scaling", "how the costs grow with the numbers")
    growth.add_argument("--backend", type=_names(list(SERVERS)), default=tuple(SERVERS))
    broadcast = command(_run_broadcast, "broadcast", "one message to many members of a room")
    broadcast.add_argument("--backend", type=_names(list(SERVERS)), default=tuple(SERVERS))
    broadcast.add_argument("--members", type=_numbers, default=(10, 500, 1000))
    broadcast.add_argument("--seconds", type=float, default=8, help="for each server and number")
    shared = command(
        _run_rooms, "rooms", "shared rooms over Redis, compared with a room of one process"
    )
    shared.add_argument("--backend", type=_names(list(SERVERS)), default=tuple(SERVERS))
    every = commands.add_parser("all", help="all results that the documentation shows (an hour)")
    every.add_argument("directory", type=Path, help="where results, tables and picture go")
    every.set_defaults(run=_run_all)
    written = commands.add_parser("report", help="make the documentation's tables and picture")
    written.add_argument("directory", type=Path, help="with COMMAND.json files")
    written.set_defaults(run=_write_report)
    for each, default in (
        (endtoend, tuple(apps.BACKENDS)),
        (memory, tuple(apps.BACKENDS)),
        (teardown, ("raw", "wsnursery", "starlette")),
        (cycles, ("wsnursery",)),
    ):
        each.add_argument("--servers", type=_names(list(HOSTS)), default=tuple(HOSTS))
        each.add_argument("--apps", type=_names(list(apps.BACKENDS)), default=default)
    return parser


def _write(arguments: argparse.Namespace, rows: Sequence[Any], **more: Any) -> None:
    if arguments.json:
        result = {"environment": environment(), **more}
        lines = ",\n".join(json.dumps(_rounded(asdict(row))) for row in rows)
        text = json.dumps(result, indent=1).removesuffix("\n}")
        arguments.json.write_text(f'{text},\n "rows": [\n{lines}\n ]\n}}\n')


def _rounded(value: Any) -> Any:
    """Round to four digits, which is more than the precision of a measurement."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: _rounded(entry) for key, entry in items}
    return value


def _runs(arguments: argparse.Namespace) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The event loops and servers that were chosen, and the applications that run there."""
    chosen = dict.fromkeys(("raw", *arguments.apps))
    for backend in arguments.backend:
        fitting = tuple(app for app in chosen if backend in apps.BACKENDS[app])
        for server in arguments.server:
            if server in SERVERS[backend]:
                yield backend, server, fitting


def _inprocess(arguments: argparse.Namespace, console: Console) -> None:
    cells: list[_compare.Cell] = []
    shapes, seconds = arguments.shapes, arguments.seconds
    with Progress(console=console, transient=True) as progress:
        for backend, server, fitting in _runs(arguments):
            for size in arguments.sizes:
                plan = Plan(backend, server, fitting, shapes, size, seconds)
                cells += _compare.compare(plan, progress)
    _compare.show(cells, console)
    _write(arguments, cells)


def _switches(arguments: argparse.Namespace, console: Console) -> None:
    counts: list[_counting.Count] = []
    for backend, server, fitting in _runs(arguments):
        counts += _counting.count(backend, server, fitting, arguments.shapes)
    _counting.show(counts, console)
    _write(arguments, counts)


def _run_broadcast(arguments: argparse.Namespace, console: Console) -> None:
    found = [
        each
        for backend in arguments.backend
        for server in SERVERS[backend]
        for members in arguments.members
        for each in _broadcast.measure(backend, server, members, arguments.seconds)
    ]
    _broadcast.show(found, console)
    _write(arguments, found)


def _run_rooms(arguments: argparse.Namespace, console: Console) -> None:
    figures = [figure for backend in arguments.backend for figure in _rooms.measure(backend)]
    _rooms.show(figures, console)
    _write(arguments, figures)


def _run_endtoend(arguments: argparse.Namespace, console: Console) -> None:
    chosen = _endtoend.cases(list(arguments.shapes), arguments.sizes, arguments.connections)
    effort = _endtoend.Effort(arguments.rounds, arguments.seconds)
    outcomes: list[_endtoend.Outcome] = []
    # Draw nothing during a measurement, because the load runs in this process.
    with Progress(console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("the load alone", total=len(arguments.servers) * len(chosen) + 1)
        progress.refresh()
        alone = list(_ceiling.ceilings())

        def step(description: str) -> None:
            progress.update(task, advance=1, description=description, refresh=True)

        for server in arguments.servers:
            outcomes += _endtoend.compare(server, arguments.apps, chosen, effort, step)
    _ceiling.show(alone, console)
    _endtoend.show(outcomes, console)
    _write(arguments, outcomes, load=[asdict(each) for each in alone])


def _processes(
    arguments: argparse.Namespace, console: Console, numbers: Sequence[int] = (0,)
) -> Iterator[tuple[str, str, int]]:
    """Every server with every application that runs on it, and a progress bar."""
    every = [
        (server, app, number)
        for server in arguments.servers
        for app in arguments.apps
        if backend_of(server) in apps.BACKENDS[app]
        for number in numbers
    ]
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=len(every))
        for server, app, number in every:
            progress.update(task, description=f"{server}, {app}")
            yield server, app, number
            progress.advance(task)


def _memory(arguments: argparse.Namespace, console: Console) -> None:
    found = [
        _lifetime.memory(*each) for each in _processes(arguments, console, arguments.connections)
    ]
    _lifetime.show_memory(found, console)
    _write(arguments, found)


def _teardown(arguments: argparse.Namespace, console: Console) -> None:
    every = _processes(arguments, console, arguments.connections)
    found = [_lifetime.teardown(*each) for each in every]
    _lifetime.show_teardown(found, console)
    _write(arguments, found)


def _cycles(arguments: argparse.Namespace, console: Console) -> None:
    found: list[_lifetime.Remains] = []
    for server, app, total in _processes(arguments, console, (arguments.cycles,)):
        found += _lifetime.cycles(server, app, total)
    _lifetime.show_cycles(found, console)
    _write(arguments, found)


def _run_scaling(arguments: argparse.Namespace, console: Console) -> None:
    found: list[_scaling.Growth] = []
    with Progress(console=console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("", total=len(arguments.backend) * _scaling.steps())

        def step(description: str) -> None:
            progress.update(task, advance=1, description=description, refresh=True)

        for backend in arguments.backend:
            found += _scaling.scaling(backend, step)
    _scaling.show(found, console)
    _write(arguments, found)


_ALL: dict[str, tuple[str, ...]] = {
    "inprocess": (
        *("--server", "hypercorn,uvicorn", "--apps", ",".join(apps.BACKENDS)),
        *("--sizes", "64,4096,65536", "--seconds", "30"),
    ),
    "switches": ("--server", "hypercorn,uvicorn", "--apps", ",".join(apps.BACKENDS)),
    "endtoend": ("--sizes", "64,4096,65536"),
    "memory": (),
    "teardown": (),
    "cycles": (),
    "scaling": (),
    "broadcast": (),
}


def _run_all(arguments: argparse.Namespace, console: Console) -> None:
    for name, options in _ALL.items():
        console.rule(name)
        into = str(arguments.directory / f"{name}.json")
        chosen = _parser().parse_args([name, "--json", into, *options])
        chosen.run(chosen, console)
    _write_report(arguments, console)


def _write_report(arguments: argparse.Namespace, console: Console) -> None:
    for path in report(arguments.directory):
        console.print(path)


def main() -> None:
    """Run a command."""
    arguments = _parser().parse_args()
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    arguments.run(arguments, console)


if __name__ == "__main__":
    main()
