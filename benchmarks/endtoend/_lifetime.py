"""What connections cost by being there, by going, and by having been."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from ._load import Load
from ._process import ServerProcess, running

_WARM_UP = 20  # connections: more would leave memory for those that are measured
_AT_ONCE = 100  # connections of a cycle


@dataclass(frozen=True)
class Memory:
    """Bytes of the server's own memory per connection.

    Attributes:
        accepted: after the handshake.
        used: after one echo: whatever is made when it is first needed is there.
    """

    server: str
    app: str
    connections: int
    accepted: float
    used: float


def memory(server: str, app: str, connections: int) -> Memory:
    """Measure connections that do nothing."""
    with running(server, app) as process:
        _warm_up(process)
        before = _settled(process)
        with Load(process.address, "/echo", connections) as load:
            accepted = _settled(process)
            load.exchange(connections, "x" * 64, 1)
            used = _settled(process)
    return Memory(
        server, app, connections, (accepted - before) / connections, (used - before) / connections
    )


def _warm_up(process: ServerProcess) -> None:
    before = process.descriptors()
    with Load(process.address, "/echo", _WARM_UP) as load:
        load.exchange(_WARM_UP, "x" * 64, 1)
    process.wait_until_idle(before)


def _settled(process: ServerProcess) -> int:
    process.facts()  # collects garbage
    return process.memory()


@dataclass(frozen=True)
class Teardown:
    """What it takes to clean up after clients that all vanish at once (TCP RST).

    Attributes:
        seconds: of the clock, until the server is idle again.
        cpu: seconds of the server's process.
    """

    server: str
    app: str
    connections: int
    seconds: float
    cpu: float


def teardown(server: str, app: str, connections: int) -> Teardown:
    """Measure one."""
    with running(server, app) as process:
        before = process.descriptors()
        load = Load(process.address, "/echo", connections)
        load.exchange(connections, "x" * 64, 1)
        process.facts()
        used = process.cpu_seconds()
        load.reset()
        seconds = process.wait_until_idle(before)
        return Teardown(server, app, connections, seconds, process.cpu_seconds() - used)


@dataclass(frozen=True)
class Remains:
    """What lives in a server after so many connections have come and gone."""

    server: str
    app: str
    cycles: int
    tasks: int
    descriptors: int
    objects: int
    megabytes: float


def cycles(server: str, app: str, total: int) -> Iterator[Remains]:
    """Connect, echo and leave: half with a closed connection, half with a reset one.

    Yields what remains ten times on the way.
    """
    with running(server, app) as process:
        base = process.descriptors()
        part = max(2 * _AT_ONCE, total // 10)
        done = 0
        while done < total:
            for number in range(part // _AT_ONCE):
                with Load(process.address, "/echo", _AT_ONCE) as load:
                    load.exchange(_AT_ONCE, "x" * 64, 1)
                    if number % 2:
                        load.reset()
            process.wait_until_idle(base)
            done += part
            yield _remains(process, server, app, done)


def _remains(process: ServerProcess, server: str, app: str, done: int) -> Remains:
    facts = process.facts()
    megabytes = process.memory() / 1e6
    descriptors = process.descriptors()
    return Remains(server, app, done, facts["tasks"], descriptors, facts["objects"], megabytes)


def show_memory(found: list[Memory], console: Console) -> None:
    """A table, with the difference to raw."""
    table = Table(title="Memory per idle connection, KB", title_justify="left")
    for heading in ("server", "app", "accepted", "beyond raw", "after one echo", "beyond raw"):
        table.add_column(heading)
    raw = {each.server: each for each in found if each.app == "raw"}
    for each in found:
        base = raw[each.server]
        table.add_row(
            each.server,
            each.app,
            f"{each.accepted / 1e3:.1f}",
            f"{(each.accepted - base.accepted) / 1e3:+.1f}",
            f"{each.used / 1e3:.1f}",
            f"{(each.used - base.used) / 1e3:+.1f}",
        )
    console.print(table)


def show_teardown(found: list[Teardown], console: Console) -> None:
    """A table."""
    table = Table(title="Clients that vanish at once (TCP RST)", title_justify="left")
    for heading in ("server", "app", "clients", "CPU s", "CPU µs per client", "seconds"):
        table.add_column(heading)
    for each in found:
        table.add_row(
            each.server,
            each.app,
            f"{each.connections:,}",
            f"{each.cpu:.2f}",
            f"{each.cpu / each.connections * 1e6:.0f}",
            f"{each.seconds:.2f}",
        )
    console.print(table)


def show_cycles(found: list[Remains], console: Console) -> None:
    """A table."""
    table = Table(title="After so many connections have come and gone", title_justify="left")
    for heading in ("server", "app", "cycles", "tasks", "descriptors", "objects", "MB"):
        table.add_column(heading)
    for each in found:
        table.add_row(
            each.server,
            each.app,
            f"{each.cycles:,}",
            str(each.tasks),
            str(each.descriptors),
            f"{each.objects:,}",
            f"{each.megabytes:.1f}",
        )
    console.print(table)
