"""Libraries side by side in one thread, in many short rounds.

Run as a module, it is one measuring process: the plan is its argument, and it prints every round as
a line of JSON.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, thread_time

from . import apps
from ._loops import run
from ._peer import Peer, Steps
from ._serving import serving
from ._shapes import SHAPES

_PATIENCE = 60  # seconds beyond the plan after which the process counts as hung


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        backend: the event loop.
        server: the ASGI server.
        apps: names of `apps.BACKENDS`.
        shapes: names of `SHAPES`.
        size: bytes of a message.
        seconds: of the clock, without the start and the warm-up.
    """

    backend: str
    server: str
    apps: tuple[str, ...]
    shapes: tuple[str, ...]
    size: int
    seconds: float


Round = dict[str, dict[str, float]]
"""By shape and application: CPU seconds per message."""


def measure(plan: Plan, report: Callable[[Round], object]) -> None:
    """Run the plan in this process."""
    with tempfile.TemporaryDirectory() as directory:
        addresses = {app: Path(directory, app) for app in plan.apps}
        servers = [
            serving(plan.server, plan.backend, apps.load(app), address)
            for app, address in addresses.items()
        ]
        run(plan.backend, _script(plan, addresses, report), servers)


def _script(plan: Plan, addresses: dict[str, Path], report: Callable[[Round], object]) -> Steps:
    peers: dict[tuple[str, str], Peer] = {}
    text = "x" * plan.size
    for app, address in addresses.items():
        for name in plan.shapes:
            peer = peers[name, app] = Peer(address)
            yield from peer.open(SHAPES[name].path)
    for (name, _), peer in peers.items():
        yield from SHAPES[name].script(peer, SHAPES[name].messages, text)  # to warm up
    gc.collect()
    gc.freeze()  # so that imported modules do not affect the measurement
    end = monotonic() + plan.seconds
    while monotonic() < end:
        times: Round = {}
        for name in plan.shapes:
            shape = SHAPES[name]
            times[name] = {}
            for app in random.sample(plan.apps, len(plan.apps)):
                start = thread_time()
                yield from shape.script(peers[name, app], shape.messages, text)
                times[name][app] = (thread_time() - start) / shape.messages
        report(times)
    for peer in peers.values():
        peer.close()


def main() -> None:
    """One measuring process."""
    plan = Plan(**json.loads(sys.argv[1]))
    faulthandler.dump_traceback_later(plan.seconds + _PATIENCE, exit=True)
    measure(plan, lambda times: print(json.dumps(times), flush=True))


if __name__ == "__main__":
    main()
