"""What the load can do against a server without work, to show that it is not the bottleneck."""

from __future__ import annotations

import multiprocessing
import selectors
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from ._load import Load


@dataclass(frozen=True)
class Ceiling:
    """The load's highest rate, against a process that only sends bytes back.

    Attributes:
        per_second: echoes.
        share: of one core that the load used.
    """

    connections: int
    in_flight: int
    per_second: float
    share: float


def ceilings(messages: int = 60_000) -> Iterator[Ceiling]:
    """Measure it as the cases do."""
    context = multiprocessing.get_context("spawn")
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    process = context.Process(target=_send_back, args=(listener,), daemon=True)
    process.start()
    address = listener.getsockname()
    for connections in (1, 100, 1000):
        for in_flight in (1, 32):
            with Load(address, None, connections) as load:
                load.exchange(2 * connections, "x" * 64, in_flight, raw=True)
                run = load.exchange(messages, "x" * 64, in_flight, raw=True)
            yield Ceiling(connections, in_flight, run.messages / run.seconds, run.share)
    process.kill()


def _send_back(listener: socket.socket) -> None:
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ, True)
                continue
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            if data := connection.recv(1 << 18):
                connection.sendall(data)
            else:
                selector.unregister(connection)


def show(found: list[Ceiling], console: Console) -> None:
    """A table."""
    table = Table(title="The load alone, against bytes sent back", title_justify="left")
    for heading in ("connections", "in flight", "per second", "load's CPU"):
        table.add_column(heading)
    for each in found:
        table.add_row(
            str(each.connections),
            str(each.in_flight),
            f"{each.per_second:,.0f}",
            f"{each.share:.0%}",
        )
    console.print(table)
