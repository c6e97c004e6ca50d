"""Several server processes on the same sockets, and the process that watches them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event, Semaphore
from types import FrameType

import anyio
import hypercorn.config
from hypercorn.config import Sockets

from wsnursery.rooms._unshared import WORKERS_VARIABLE

from ._logs import logger
from ._process import complain, serve_process, status_of
from ._run import seconds_to_end
from ._serving import drain_policy

LAST_SECONDS = 5.0
"""Seconds that a worker has, in addition to the sum of its own limits, before it is killed."""

FIRST_BACKOFF = 0.5
"""Seconds until a worker that has died is replaced. The pause doubles after each death."""

LONGEST_BACKOFF = 30.0
"""The longest of these pauses, in seconds."""

QUIET_SECONDS = 60.0
"""Seconds without a death after which earlier deaths no longer count."""

MOST_DEATHS = 6
"""Deaths in a row after which the service ends, because a restart does not fix the cause."""


class Workers:
    """The processes that serve an application.

    A worker that ends by itself (``max_requests``) is replaced at once, and one that dies is
    replaced after a pause. The others continue. After several deaths in a row, or if the first
    workers cannot start, the service drains the others and ends.

    Args:
        app: ``"module:name"``, which each worker imports.
        config: The configuration.
        sockets: The sockets on which all workers listen.
        factory: Whether ``app`` is a function that makes the application.
    """

    def __init__(
        self, app: str, config: hypercorn.config.Config, sockets: Sockets, *, factory: bool = False
    ) -> None:
        self._config = config
        self._context = multiprocessing.get_context("spawn")  # so that no state is inherited
        # All workers fail for the same reason, and only one of them reports it.
        first = self._context.Semaphore(1)
        self._work = partial(_work, app, config, sockets, first, factory=factory)
        self._workers: dict[SpawnProcess, Event] = {}
        """The processes, and the event that each sets when it serves."""
        self._due: list[float] = []
        """When the next workers must be started, on the monotonic clock."""
        self._deaths = 0
        self._last_death = 0.0
        self._has_served = False
        self._stopping = False
        self._failed = False
        self._killer = threading.Timer(self._bound(), self._kill)
        self._killer.daemon = True
        self._woken, self._waker = self._context.Pipe(duplex=False)

    def _bound(self) -> float:
        own = seconds_to_end(self._config, drain_policy(self._config))
        return own + self._config.shutdown_timeout + LAST_SECONDS

    def run(self) -> int:
        """Serve until SIGINT or SIGTERM. Return the exit status. Call it in the main thread."""
        for _ in range(self._config.workers):
            self._start()
        with _handling(self._on_signal):
            while self._workers or self._due:
                pause = max(0.0, min(self._due) - time.monotonic()) if self._due else None
                wait([self._woken, *(process.sentinel for process in self._workers)], pause)
                self._look()
        self._killer.cancel()
        return 1 if self._failed else 0

    def _start(self) -> None:
        serves = self._context.Event()
        process = self._context.Process(target=self._work, kwargs={"serves": serves})
        os.environ[WORKERS_VARIABLE] = str(self._config.workers)  # the workers inherit it
        # Ctrl-C reaches every process of the terminal, so workers ignore it, and this process
        # forwards it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        process.start()
        signal.signal(signal.SIGINT, before)
        self._workers[process] = serves

    def _look(self) -> None:
        """Find the workers that have ended, and start those that are due."""
        while self._woken.poll():
            self._woken.recv_bytes()
        for process, serves in tuple(self._workers.items()):
            self._has_served = self._has_served or serves.is_set()
            if process.exitcode is not None:
                del self._workers[process]
                self._ended(process)
        now = time.monotonic()
        for due in [due for due in self._due if due <= now]:
            self._due.remove(due)
            self._start()

    def _ended(self, process: SpawnProcess) -> None:
        status = process.exitcode
        if self._stopping:
            # (A signal may have come before the worker could handle it.)
            self._failed = self._failed or status not in (0, -signal.SIGTERM)
        elif status == 0:
            self._start()
        elif not self._has_served and status is not None and status > 0:
            # A positive status means that the worker ended by itself: its configuration or its
            # application is wrong. A worker that was killed by a signal has a negative one.
            logger.error("worker %s cannot start: the service ends", process.pid)
            self._fail()
        else:
            self._died(process)

    def _died(self, process: SpawnProcess) -> None:
        now = time.monotonic()
        if now - self._last_death > QUIET_SECONDS:
            self._deaths = 0
        self._last_death = now
        self._deaths += 1
        how = _describe(process.exitcode)
        if self._deaths >= MOST_DEATHS:
            logger.error(
                "worker %s has died (%s), the %dth in a row: the service ends",
                process.pid,
                how,
                self._deaths,
            )
            self._fail()
            return
        pause = min(FIRST_BACKOFF * 2 ** (self._deaths - 1), LONGEST_BACKOFF)
        logger.error("worker %s has died (%s): another one starts in %g s", process.pid, how, pause)
        self._due.append(now + pause)

    def _fail(self) -> None:
        self._failed = True
        self._stop()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop()
        # `wait` is not interrupted by a signal handler (PEP 475), so wake it.
        self._waker.send_bytes(b"look")

    def _stop(self) -> None:
        """Let the workers drain at the first call, and stop draining at the second."""
        self._due.clear()
        if not self._stopping:
            self._stopping = True
            self._killer.start()
        for process in self._workers:
            # SIGTERM: the first one lets the worker drain, and the second one cuts its drain short.
            process.terminate()

    def _kill(self) -> None:
        self._failed = True
        for process in self._workers:
            logger.error("killed worker %s, which did not end", process.pid)
            process.kill()


def _describe(status: int | None) -> str:
    """Describe how a process has ended."""
    if status is None or status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None]) -> Generator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _work(
    app: str,
    config: hypercorn.config.Config,
    sockets: Sockets,
    first: Semaphore,
    *,
    serves: Event,
    factory: bool = False,
) -> None:
    """Run a worker process."""

    def work() -> int:
        serve_process(
            app, config, sockets, _parent_gone, factory=factory, report=lambda _: serves.set()
        )
        return 0

    def speak(sentence: str) -> None:
        if first.acquire(block=False):
            complain(sentence)

    try:
        status = status_of(work, speak)
    except Exception:  # noqa: BLE001 - it is printed, once for all workers
        speak(traceback.format_exc())
        status = 1
    sys.exit(status)


async def _parent_gone() -> None:
    """Wait until the watching process has ended, which forwards the signals."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    await anyio.wait_readable(parent.sentinel)
