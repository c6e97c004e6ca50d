"""What shared rooms over Redis cost, compared with a room of one process.

Every figure of a worker is processor time of its own process. The benchmark starts its own Redis.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.table import Table

PREFIX = "benchmark:"

ROOMS = 1000
"""The number of rooms in the measurement with many rooms."""

PLAIN = 20_000
"""The number of messages in the measurement of Redis alone."""


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        value: with the unit in `unit`.
        bound: the most that a ratio should be; `None` if there is no goal.
    """

    backend: str
    name: str
    value: float
    unit: str
    bound: float | None = None


class Redis:
    """A server without persistence, on a unix socket."""

    def __init__(self, directory: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            sys.exit(
                "This needs redis-server: apt-get install --no-install-recommends redis-server"
            )
        self.socket = str(Path(directory) / "s")
        command = [program, "--port", "0", "--unixsocket", self.socket, "--save", ""]
        self._process = subprocess.Popen(
            [*command, "--dir", directory, "--logfile", str(Path(directory) / "log")]
        )
        while not Path(self.socket).exists():
            time.sleep(0.01)

    def connect(self) -> socket.socket:
        """A connection of our own."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.socket)
        return client

    def ask(self, command: str) -> str:
        """One command, and the beginning of its answer."""
        with self.connect() as client:
            client.sendall(f"{command}\r\n".encode())
            return client.recv(1 << 16).decode()

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        answer = self.ask("INFO cpu")
        pairs = dict(line.split(":") for line in answer.split("\r\n") if ":" in line)
        return float(pairs["used_cpu_sys"]) + float(pairs["used_cpu_user"])

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def _redis() -> Generator[Redis]:
    with tempfile.TemporaryDirectory(prefix="wsn") as directory:
        server = Redis(directory)
        try:
            yield server
        finally:
            server.stop()


class Worker:
    """A process that runs `benchmarks._rooms_worker` with a role."""

    def __init__(self, backend: str, url: str, role: str, *numbers: int) -> None:
        command = [sys.executable, "-m", "benchmarks._rooms_worker", backend, url, role]
        self._process = subprocess.Popen(
            [*command, *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> Worker:
        """Wait until it is ready."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def result(self) -> dict[str, Any]:
        """Let it continue, and wait for its results."""
        out, _ = self._process.communicate("\n")
        measured: dict[str, Any] = json.loads(out)
        return measured

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def _pair(
    stack: ExitStack, backend: str, url: str, members: int, messages: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The cost of a worker that publishes, and of one that only receives."""
    receives = stack.enter_context(Worker(backend, url, "receive", members, messages)).ready()
    publishes = stack.enter_context(Worker(backend, url, "publish", members, messages)).ready()
    published = publishes.result()
    return published, receives.result()


def measure(backend: str) -> Iterator[Figure]:
    """All figures of one backend."""
    for members, messages, bounds in ((500, 100, (1.15, 1.15)), (1, 2000, (2.2, 1.5))):
        with _redis() as redis, ExitStack() as stack:
            url = f"unix://{redis.socket}"
            alone = stack.enter_context(Worker(backend, url, "alone", members, messages)).ready()
            base = alone.result()
            before = redis.cpu()
            published, received = _pair(stack, backend, url, members, messages)
            redis_us = (redis.cpu() - before) / messages * 1e6
        label = f"{members} member{'s' * (members > 1)}"
        yield Figure(backend, f"{label}: room of one process", base["cpu"] * 1e6, "us")
        for name, one, bound in zip(
            ("publishing worker", "receiving worker"), (published, received), bounds, strict=True
        ):
            yield Figure(backend, f"{label}: {name}", one["cpu"] * 1e6, "us")
            ratio = one["cpu"] / base["cpu"]
            yield Figure(backend, f"{label}: {name} / one process", ratio, "", bound)
        yield Figure(backend, f"{label}: Redis", redis_us, "us")
        if members == 1:
            yield Figure(backend, "latency p50: one process", base["latency"] * 1e3, "ms")
            yield Figure(backend, "latency p50: shared", published["latency"] * 1e3, "ms")
            ratio = published["latency"] / base["latency"]
            yield Figure(backend, "latency p50: shared / one process", ratio, "", 5.0)
    with _redis() as redis, ExitStack() as stack:
        url = f"unix://{redis.socket}"
        yield from _pipelined(stack, redis, backend, url)
    with _redis() as redis, ExitStack() as stack:
        worker = stack.enter_context(Worker(backend, f"unix://{redis.socket}", "many", ROOMS))
        many = worker.ready().result()
        yield Figure(backend, f"{ROOMS} rooms join: processor", many["join"], "s")
        yield Figure(backend, f"{ROOMS} rooms come back: processor", many["back"], "s")
        yield Figure(backend, "coming back / joining", many["back"] / many["join"], "", 2.0)
        yield Figure(backend, "an idle shared room, its member included", many["bytes"], "bytes")


def _pipelined(stack: ExitStack, redis: Redis, backend: str, url: str) -> Iterator[Figure]:
    """The cost of a message in Redis, compared with a plain PUBLISH to as many subscribers."""
    before = redis.cpu()
    # With two members, because with one the latency of single messages is measured in addition.
    _pair(stack, backend, url, 2, PLAIN // 4)
    scripted = (redis.cpu() - before) / (PLAIN // 4) * 1e6
    subscribers = [stack.enter_context(redis.connect()) for _ in range(2)]
    for subscriber in subscribers:
        subscriber.sendall(b"SUBSCRIBE c\r\n")
        subscriber.recv(1 << 16)
    publisher = stack.enter_context(redis.connect())
    command = b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$1024\r\n" + 1024 * b"x" + b"\r\n"
    before = redis.cpu()
    for _ in range(PLAIN // 20):
        publisher.sendall(command * 20)
        answers = 0
        while answers < 20:
            answers += publisher.recv(1 << 16).count(b":")
        for subscriber in subscribers:
            expected = 20 * (1024 + len(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1024\r\n\r\n"))
            while expected:
                expected -= len(subscriber.recv(min(expected, 1 << 16)))
    plain = (redis.cpu() - before) / PLAIN * 1e6
    yield Figure(backend, "Redis: number, keep, push", scripted, "us")
    yield Figure(backend, "Redis: plain PUBLISH", plain, "us")
    yield Figure(backend, "Redis: number, keep, push / plain PUBLISH", scripted / plain, "", 8.0)


def show(figures: Sequence[Figure], console: Console) -> None:
    """A table for each backend."""
    for backend in dict.fromkeys(figure.backend for figure in figures):
        table = Table("figure", "value", "goal", title=backend)
        for figure in figures:
            if figure.backend == backend:
                value = f"{figure.value:.3g} {figure.unit}"
                table.add_row(figure.name, value, f"<= {figure.bound}" if figure.bound else "")
        console.print(table)
