"""One message to many members, in one thread: a room beside loops that await each `send` in turn.

Such a loop stops at the first client that does not read. A room does not, so it is also measured
with one more member that has stopped reading.
"""

from __future__ import annotations

import gc
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, thread_time

from rich.console import Console
from rich.table import Table

from wsnursery import Options

from . import apps
from ._loops import run
from ._peer import Peer, Steps
from ._serving import serving
from ._statistics import Spread
from ._wire import client_frame, server_frame

STALLED = "wsnursery, one stalled"
"""The row of a room in which one more member does not read."""

_TEXT = "x" * 64
_WARM_UP = 100
"""The number of messages before the measurement, more than the outbox of a stalled member holds."""


@dataclass(frozen=True)
class Broadcast:
    """One application that sends to so many members.

    Attributes:
        microseconds: CPU time of the server's thread per member and message.
        ratio: of the raw loop's time in the same round to this; higher is better.
    """

    backend: str
    server: str
    members: int
    app: str
    microseconds: Spread
    ratio: Spread


def measure(backend: str, server: str, members: int, seconds: float) -> list[Broadcast]:
    """Measure one number of members, for so many seconds without and with a stalled member."""
    timeout = Options().send_timeout
    assert timeout is not None
    assert seconds < timeout, "a stalled member is there for no longer"
    rounds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        addresses = {app: Path(directory, app) for app in apps.WITH_BROADCAST}
        servers = [
            serving(server, backend, apps.load(app), address) for app, address in addresses.items()
        ]
        run(backend, _script(addresses, members, seconds, rounds), servers)
    return [
        Broadcast(
            backend,
            server,
            members,
            app,
            Spread.of(time * 1e6 for time in times),
            Spread.of(raw / time for raw, time in zip(rounds[_raw_of(app)], times, strict=True)),
        )
        for app, times in rounds.items()
        if app != _raw_of(STALLED)
    ]


def _raw_of(app: str) -> str:
    """The raw loop's rounds that were measured beside this application."""
    return "raw, beside it" if app == STALLED else "raw"


def _script(
    addresses: dict[str, Path], members: int, seconds: float, rounds: dict[str, list[float]]
) -> Steps:
    peers = {app: [Peer(address) for _ in range(members)] for app, address in addresses.items()}
    for those in peers.values():
        for peer in those:
            yield from peer.open("/broadcast")
    yield from _rounds(peers, {app: app for app in peers}, seconds, rounds)
    stalled = Peer(addresses["wsnursery"])
    yield from stalled.open("/stalled")
    names = {"raw": _raw_of(STALLED), "wsnursery": STALLED}
    yield from _rounds(peers, names, seconds, rounds)
    for peer in (stalled, *(peer for those in peers.values() for peer in those)):
        peer.close()


def _rounds(
    peers: dict[str, list[Peer]],
    names: dict[str, str],
    seconds: float,
    rounds: dict[str, list[float]],
) -> Steps:
    """Measure the applications that have a name here, in a random order in each round."""
    rounds |= {name: [] for name in names.values()}
    for app in names:
        for _ in range(_WARM_UP):
            yield from broadcast(peers[app])
    gc.collect()
    gc.freeze()  # so that what the other applications have made does not affect the measurement
    end = monotonic() + seconds
    while monotonic() < end:
        for app in random.sample(list(names), len(names)):
            start = thread_time()
            yield from broadcast(peers[app])
            elapsed = thread_time() - start
            rounds[names[app]].append(elapsed / len(peers[app]))


def broadcast(peers: list[Peer]) -> Steps:
    """Let the first of them send a message, and all receive it."""
    yield from peers[0].write(client_frame(_TEXT))
    yield
    for peer in peers:
        yield from peer.read_ready(len(server_frame(_TEXT)))


def show(found: Sequence[Broadcast], console: Console) -> None:
    """A table."""
    table = Table(title="ratio to raw (quartiles), CPU µs per member", title_justify="left")
    for heading in ("server", "loop", "members", "app", "ratio", "µs"):
        table.add_column(heading)
    for each in found:
        ratio = f"{each.ratio.median:.3f} ({each.ratio.low:.2f}-{each.ratio.high:.2f})"
        time = f"{each.microseconds.median:.1f}"
        table.add_row(each.server, each.backend, str(each.members), each.app, ratio, time)
    console.print(table)
