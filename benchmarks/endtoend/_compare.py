"""Compares applications, each in its own server process."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby

from rich.console import Console
from rich.table import Table

from benchmarks import apps
from benchmarks._shapes import IN_FLIGHT
from benchmarks._statistics import Spread, quantile

from ._host import backend_of
from ._load import Load, Run
from ._process import ServerProcess, running

_CONCURRENT_BYTES = 256 * 1024 * 1024  # in flight; more measures the kernel's memory
_SHORTEST = 64  # messages of a round


@dataclass(frozen=True)
class Case:
    """Some traffic."""

    shape: str
    size: int
    connections: int

    def run(self, load: Load, messages: int) -> Run:
        """Make it."""
        text = "x" * self.size
        if self.shape == "push":
            return load.push(messages, text)
        if self.shape == "receive":
            return load.receive(messages, text)
        if self.shape == "broadcast":
            return load.broadcast(messages, text)
        return load.exchange(messages, text, IN_FLIGHT if self.shape == "echo32" else 1)


PATHS = {
    "ping-pong": "/echo",
    "echo32": "/echo",
    "push": "/push",
    "receive": "/receive",
    "broadcast": "/broadcast",
}
"""The shapes of traffic, and the handlers for them."""


def cases(shapes: Sequence[str], sizes: Sequence[int], connections: Sequence[int]) -> list[Case]:
    """All combinations, except those without a meaning."""
    return [
        Case(shape, size, number)
        for number in connections
        for size in sizes
        for shape in shapes
        if not (shape == "echo32" and IN_FLIGHT * size * number > _CONCURRENT_BYTES)
        and not (shape == "broadcast" and number == 1)
    ]


@dataclass(frozen=True)
class Outcome:
    """One application in one case.

    Attributes:
        microseconds: CPU time of the server's process per message (per delivery in a broadcast).
        ratio: of the raw loop's time in the same round to this; higher is better.
        per_second: messages.
        p50: milliseconds from a question to its answer, where there are answers.
        p99: the same.
        load_share: of one core that the load used, at most.
    """

    server: str
    shape: str
    size: int
    connections: int
    app: str
    microseconds: Spread
    ratio: Spread
    per_second: float
    p50: float | None
    p99: float | None
    load_share: float


@dataclass(frozen=True)
class Effort:
    """How thoroughly to measure: rounds of each case, and seconds that one takes with ``raw``."""

    rounds: int = 5
    seconds: float = 0.25


@dataclass
class _Series:
    cpu: list[float] = field(default_factory=list[float])
    speeds: list[float] = field(default_factory=list[float])
    shares: list[float] = field(default_factory=list[float])
    latencies: array[float] = field(default_factory=lambda: array("d"))


def compare(
    server: str,
    names: Sequence[str],
    chosen: Sequence[Case],
    effort: Effort,
    step: Callable[[str], object],
) -> Iterator[Outcome]:
    """Measure one server with every application that runs on it.

    Args:
        server: a name of `_host.SERVERS`.
        names: of applications; ``raw`` is always among them.
        chosen: the cases.
        effort: that each of them gets.
        step: called with what comes next.
    """
    fitting = [
        name for name in dict.fromkeys(("raw", *names)) if backend_of(server) in apps.BACKENDS[name]
    ]

    def place(case: Case) -> tuple[int, str]:
        return case.connections, PATHS[case.shape]

    with ExitStack() as stack:
        processes = {name: stack.enter_context(running(server, name)) for name in fitting}
        for (connections, path), group in groupby(sorted(chosen, key=place), place):
            with _connected(processes, path, connections) as loads:
                for case in group:
                    step(f"{server}, {case.shape}, {case.size} B, {case.connections} connections")
                    yield from _outcomes(server, case, _measure(case, processes, loads, effort))


@contextmanager
def _connected(
    processes: dict[str, ServerProcess], path: str, connections: int
) -> Generator[dict[str, Load], None, None]:
    names = [name for name in processes if path != "/broadcast" or name in apps.WITH_BROADCAST]
    before = {name: processes[name].descriptors() for name in names}
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Load(processes[name].address, path, connections))
            for name in names
        }
    for name in names:  # so that no clean-up runs while the next one is measured
        processes[name].wait_until_idle(before[name])


def _measure(
    case: Case, processes: dict[str, ServerProcess], loads: dict[str, Load], effort: Effort
) -> dict[str, _Series]:
    series = {name: _Series() for name in loads}
    messages = max(_SHORTEST, case.connections)
    for name in reversed(loads):  # warms up, and ends with raw
        case.run(loads[name], messages)
    trial = case.run(loads["raw"], messages)
    messages = max(messages, int(trial.messages / trial.seconds * effort.seconds))
    for _ in range(effort.rounds):
        for name in random.sample(list(loads), len(loads)):
            before = processes[name].cpu_seconds()
            run = case.run(loads[name], messages)
            used = processes[name].cpu_seconds() - before
            series[name].cpu.append(used / run.messages)
            series[name].speeds.append(run.messages / run.seconds)
            series[name].shares.append(run.share)
            series[name].latencies.extend(run.latencies)
    return series


def _outcomes(server: str, case: Case, series: dict[str, _Series]) -> Iterator[Outcome]:
    raw = series["raw"].cpu
    for name, each in series.items():
        late = sorted(each.latencies)
        yield Outcome(
            server,
            case.shape,
            case.size,
            case.connections,
            name,
            Spread.of(used * 1e6 for used in each.cpu),
            Spread.of(base / used for base, used in zip(raw, each.cpu, strict=True)),
            Spread.of(each.speeds).median,
            quantile(late, 0.5) * 1e3 if late else None,
            quantile(late, 0.99) * 1e3 if late else None,
            max(each.shares),
        )


def show(outcomes: Sequence[Outcome], console: Console) -> None:
    """A table for each server, with a line for each case and application."""
    for server in dict.fromkeys(outcome.server for outcome in outcomes):
        table = Table(title=f"{server}, end to end over TCP", title_justify="left")
        for heading in ("case", "app", "ratio to raw", "CPU µs", "per second", "p50 ms", "p99 ms"):
            table.add_column(heading, no_wrap=True)
        table.add_column("load's CPU")
        before = ""
        for outcome in outcomes:
            if outcome.server != server:
                continue
            case = f"{outcome.shape}, {outcome.size} B, {outcome.connections}"
            if case != before:
                table.add_section()
            ratio = outcome.ratio
            table.add_row(
                case if case != before else "",
                outcome.app,
                f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f})",
                f"{outcome.microseconds.median:.1f}",
                f"{outcome.per_second:,.0f}",
                "" if outcome.p50 is None else f"{outcome.p50:.2f}",
                "" if outcome.p99 is None else f"{outcome.p99:.2f}",
                f"{outcome.load_share:.0%}",
            )
            before = case
        console.print(table)
