"""Does the cost grow in proportion to the number of things?

The slope is that of the logarithm of the cost over the logarithm of the number: 1 is linear, 2 is
quadratic.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import thread_time
from typing import Any, ClassVar

import anyio
from rich.console import Console
from rich.table import Table

from wsnursery import Options, WebSocket, open_websocket
from wsnursery.rooms import Rooms

from . import apps
from ._broadcast import broadcast
from ._loops import run
from ._peer import Peer, Steps
from ._serving import serving
from ._wire import client_frame, server_frame

_REPEATS = 2  # the fastest counts
_LONG = 10_000  # more than that is measured once
_TEXT = "x" * 64


@dataclass(frozen=True)
class Growth:
    """The cost of a number of things.

    Attributes:
        microseconds: of CPU time for each thing, by the number of things.
        slope: see the module.
    """

    backend: str
    what: str
    app: str
    microseconds: dict[int, float]
    slope: float


def scaling(backend: str, step: Callable[[str], object]) -> Iterator[Growth]:
    """Measure everything on one event loop; `step` is called with what comes next."""
    for app in ("raw", "floor", "wsnursery"):
        for what, path, script in (
            ("echoes, one on each connection", "/echo", _echoes),
            ("deliveries of a broadcast", "/broadcast", broadcast),
        ):
            step(what)
            yield _growth(
                backend,
                what,
                app,
                {n: _served(backend, app, path, n, script) for n in _CONNECTIONS},
            )
    for what, app, numbers, measure in _SUBJECTS:
        step(what)
        costs = {n: _alone(backend, measure, n) for n in numbers}
        yield _growth(backend, what, app, costs)


def steps() -> int:
    """How often `scaling` calls its `step`."""
    return 6 + len(_SUBJECTS)


def _growth(backend: str, what: str, app: str, costs: dict[int, float]) -> Growth:
    """From the seconds for all things, by their number."""
    each = {number: cost / number * 1e6 for number, cost in costs.items()}
    return Growth(backend, what, app, each, _slope(costs))


def _slope(costs: dict[int, float]) -> float:
    points = [(math.log(number), math.log(cost)) for number, cost in costs.items()]
    x = sum(point[0] for point in points) / len(points)
    y = sum(point[1] for point in points) / len(points)
    return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


# ----------------------------------------------------------------------- over Hypercorn's stack

_CONNECTIONS = (10, 100, 1000)
_Script = Callable[[list[Peer]], Steps]


def _served(backend: str, app: str, path: str, number: int, script: _Script) -> float:
    times: list[float] = []

    def steps_of(address: Path) -> Steps:
        peers = [Peer(address) for _ in range(number)]
        for peer in peers:
            yield from peer.open(path)
        yield from script(peers)  # to warm up
        for _ in range(max(_REPEATS, 300 // number)):
            start = thread_time()
            yield from script(peers)
            times.append(thread_time() - start)
        for peer in peers:
            peer.close()

    with tempfile.TemporaryDirectory() as directory:
        address = Path(directory, "socket")
        run(backend, steps_of(address), [serving("hypercorn", backend, apps.load(app), address)])
    return min(times)


def _echoes(peers: list[Peer]) -> Steps:
    question, answer = client_frame(_TEXT), len(server_frame(_TEXT))
    for peer in peers:
        yield from peer.write(question)
    yield
    for peer in peers:
        yield from peer.read_ready(answer)


# ------------------------------------------------------------------------------ without a server


class _Server:
    """An ASGI server that delivers some messages, takes all messages and never waits."""

    scope: ClassVar[dict[str, Any]] = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "headers": [],
        "subprotocols": [],
        "extensions": {},
    }

    def __init__(self, messages: int = 0) -> None:
        self._messages = messages
        self._connected = False
        self._accepted = anyio.Event()

    async def receive(self) -> dict[str, Any]:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        await self._accepted.wait()
        if self._messages:
            self._messages -= 1
            return {"type": "websocket.receive", "text": _TEXT}
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, _event: Any) -> None:
        self._accepted.set()


_OPTIONS = Options(close_timeout=0)  # this server does not answer a close


@asynccontextmanager
async def _opened(server: _Server, options: Options) -> AsyncGenerator[WebSocket, None]:
    async with open_websocket(server.scope, server.receive, server.send, options=options) as ws:
        await ws.accept()
        yield ws


def _alone(backend: str, measure: Callable[[int], Awaitable[float]], number: int) -> float:
    repeats = 1 if number > _LONG else _REPEATS
    return min(anyio.run(measure, number, backend=backend) for _ in range(repeats))


async def _queued_in(number: int) -> float:
    start = thread_time()
    options = replace(_OPTIONS, receive_buffer=number, receive_buffer_bytes=number * 100)
    async with _opened(_Server(number), options) as ws:
        await anyio.wait_all_tasks_blocked()
        for _ in range(number):
            await ws.receive()
        return thread_time() - start


async def _queued_out(number: int) -> float:
    options = replace(_OPTIONS, send_buffer=number, send_buffer_bytes=number * 100)
    async with _opened(_Server(), options) as ws:
        start = thread_time()
        for _ in range(number):
            ws.send_nowait(_TEXT)
        await ws.flush()
        return thread_time() - start


async def _tasks(number: int) -> float:
    start = thread_time()
    async with anyio.create_task_group() as group:
        for _ in range(number):
            group.start_soon(anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    return thread_time() - start


async def _children(number: int) -> float:
    start = thread_time()
    async with _opened(_Server(), _OPTIONS) as ws:
        for _ in range(number):
            ws.start_soon(anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        ws.cancel_scope.cancel()
    return thread_time() - start


async def _memberships(members: int, number: int) -> float:
    """Members in rooms: all join, each room gets one message, and all leave."""
    times: list[float] = []
    rooms = Rooms()
    connections: list[WebSocket] = []
    async with anyio.create_task_group() as group:
        for _ in range(_CONNECTIONS[-1]):
            group.start_soon(_connect, connections)
        await anyio.wait_all_tasks_blocked()
        start = thread_time()
        with ExitStack() as joined:
            for place in range(number):
                ws = connections[place % len(connections)]
                joined.enter_context(rooms.joined(f"room {place // members}", ws))
            for room in range(number // members):
                rooms.publish(f"room {room}", _TEXT)
        for ws in connections:
            await ws.flush()
        times.append(thread_time() - start)
        group.cancel_scope.cancel()
    return times[0]


async def _connect(connections: list[WebSocket]) -> None:
    options = replace(_OPTIONS, send_buffer=1000)
    async with _opened(_Server(), options) as ws:
        connections.append(ws)
        await anyio.sleep_forever()


_MANY = (1000, 4000, 16_000)
_MEMBERSHIPS = (1000, 10_000, 100_000)
_OURS = "wsnursery"
_SUBJECTS: Sequence[tuple[str, str, Sequence[int], Callable[[int], Awaitable[float]]]] = (
    ("messages in the inbox of one connection", _OURS, _MANY, _queued_in),
    ("messages in the outbox of one connection", _OURS, _MANY, _queued_out),
    ("children of one task group", "anyio", _MANY, _tasks),
    ("children of one connection", _OURS, _MANY, _children),
    ("memberships, 10 to a room", _OURS, _MEMBERSHIPS, partial(_memberships, 10)),
    ("memberships, 100 to a room", _OURS, _MEMBERSHIPS, partial(_memberships, 100)),
    ("memberships, 1,000 to a room", _OURS, _MEMBERSHIPS, partial(_memberships, 1000)),
)


def show(found: list[Growth], console: Console) -> None:
    """A table."""
    table = Table(title="CPU µs for each, by their number", title_justify="left")
    for heading in ("what", "loop", "app", "number: µs", "slope (1 is linear)"):
        table.add_column(heading)
    for growth in found:
        costs = ", ".join(f"{n:,}: {cost:.1f}" for n, cost in growth.microseconds.items())
        table.add_row(growth.what, growth.backend, growth.app, costs, f"{growth.slope:.2f}")
    console.print(table)
