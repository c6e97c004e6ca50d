"""Several server processes on the same sockets, and the one that watches them."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Semaphore
from types import FrameType

import anyio
import hypercorn.config
from hypercorn.config import Sockets

from ._process import complain, serve_process, status_of
from ._serving import LATE_SECONDS, drain_policy

LAST_SECONDS = 5.0
"""Seconds that a worker has, beyond what its own limits add up to, before it is killed."""


class Workers:
    """The processes that serve an application.

    A worker that ends by itself (``max_requests``) is replaced. One that fails takes the others
    with it, with a drain: what starts this process is to start it again.

    Args:
        app: ``"module:name"``, which each of them imports.
        config: The configuration.
        sockets: What all of them listen on.
    """

    def __init__(self, app: str, config: hypercorn.config.Config, sockets: Sockets) -> None:
        self._config = config
        self._context = multiprocessing.get_context("spawn")  # no state of this process
        # They all stumble over the same thing, and one of them says what it is.
        work = partial(_work, app, config, sockets, self._context.Semaphore(1))
        self._new = partial(self._context.Process, target=work)
        self._processes: list[SpawnProcess] = []
        self._stopping = False
        self._failed = False
        self._killer = threading.Timer(self._bound(), self._kill)
        self._killer.daemon = True

    def _bound(self) -> float:
        own = drain_policy(self._config).timeout + 2 * self._config.graceful_timeout
        return own + LATE_SECONDS + LAST_SECONDS

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM; give the exit status. Call it in the main thread."""
        for _ in range(self._config.workers):
            self._start()
        with _handling(self._on_signal):
            while self._processes:
                wait([process.sentinel for process in self._processes])
                self._look()
        self._killer.cancel()
        return 1 if self._failed else 0

    def _start(self) -> None:
        process = self._new()
        # Ctrl-C goes to every process of the terminal; the workers are told by this one.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        process.start()
        signal.signal(signal.SIGINT, before)
        self._processes.append(process)

    def _look(self) -> None:
        for process in [process for process in self._processes if process.exitcode is not None]:
            self._processes.remove(process)
            if process.exitcode == 0:
                if not self._stopping:
                    self._start()
            elif not self._stopping or process.exitcode != -signal.SIGTERM:
                # (A signal may have come before the worker could listen to it.)
                self._failed = True
                self._stop()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        """The first time, they drain; the second time, no longer."""
        if not self._stopping:
            self._stopping = True
            self._killer.start()
        for process in self._processes:
            process.terminate()

    def _kill(self) -> None:
        self._failed = True
        for process in self._processes:
            process.kill()


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Generator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _work(app: str, config: hypercorn.config.Config, sockets: Sockets, first: Semaphore) -> None:
    """What a worker process does."""

    def work() -> int:
        serve_process(app, config, sockets, _parent_gone)
        return 0

    def speak(sentence: str) -> None:
        if first.acquire(block=False):
            complain(sentence)

    sys.exit(status_of(work, speak))


async def _parent_gone() -> None:
    """Wait until there is nobody who could pass on a signal."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    await anyio.wait_readable(parent.sentinel)
