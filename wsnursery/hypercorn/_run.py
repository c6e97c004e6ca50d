"""One run of Hypercorn in an event loop: it starts, drains, stops, and ends in time."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from copy import copy

import anyio
import anyio.lowlevel
import hypercorn.config
from anyio.abc import TaskGroup
from hypercorn.config import Sockets

from wsnursery._backend.running import running_on_trio

from ._config import Config
from ._drain import CUT_SECONDS, ASGIApp, Drain, DrainPolicy
from ._lifespan import GuardedLifespan
from ._listening import ACCEPT_BATCH, addresses, make_patient
from ._logs import log_start, logger
from ._network import NetworkConnections
from ._signals import ProcessSignals, abandon

LATE_SECONDS = 1.0
"""Seconds that Hypercorn has after its ``graceful_timeout`` until the connections for which it
still waits are dropped. After the same time they are checked again."""

Trigger = Callable[[], Awaitable[object]]
"""An async function that returns when it is time to stop."""


def seconds_to_end(config: hypercorn.config.Config, policy: DrainPolicy) -> float:
    """The most seconds that handlers and connections have after the signal.

    It is the sum of the drain, the time for its cancellations, and twice Hypercorn's grace period
    with a check of the connections after each. The shutdown of the lifespan comes after it.
    """
    return policy.timeout + CUT_SECONDS + 2 * (config.graceful_timeout + LATE_SECONDS)


class ServeRun:
    """One run of Hypercorn, with its drain.

    Args:
        sockets: What to listen on.
        app: The application.
        config: Hypercorn's configuration. It is not changed.
        policy: The drain.
        report: Called with the addresses when the server listens.
    """

    def __init__(
        self,
        sockets: Sockets,
        app: ASGIApp,
        config: hypercorn.config.Config,
        policy: DrainPolicy,
        report: Callable[[list[str]], None],
    ) -> None:
        self._lifespan = GuardedLifespan(app)
        self._drain = Drain(self._lifespan, policy)
        self._network = NetworkConnections(
            getattr(config, "hangup_timeout", Config.hangup_timeout), self._drain.peer_has_gone
        )
        self._sockets = sockets
        self._bound = seconds_to_end(config, policy)
        self._shutdown_timeout = config.shutdown_timeout
        self._asked_for = config
        self._config = copy(config)
        self._config.workers = 1  # this process
        # Hypercorn asks for the sockets when the application has started up.
        self._config.create_sockets = self._listen  # type: ignore[method-assign]
        self._report = report
        self._started = False
        self._stop = anyio.Event()
        self._shelter = anyio.CancelScope(shield=True)
        self._patience = anyio.CancelScope()
        """The scope that ends when the time of handlers and connections is over."""
        self._ends_the_process = False

    @property
    def failure(self) -> Exception | None:
        """The exception that the application raised in its startup."""
        return self._lifespan.failure

    async def until(self, trigger: Trigger, signals: ProcessSignals | bool) -> None:
        """Serve until the trigger returns or a signal comes."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._stop_when_cancelled)
            with self._shelter:
                await self._serve(trigger, signals)
            group.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint_if_cancelled()

    async def _stop_when_cancelled(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        """Drain at the first call, and stop draining at the second. Before the start, just stop."""
        if not self._started:
            self._shelter.cancel()
        elif self._stop.is_set():
            self._hurry()
        else:
            self._stop.set()

    def _hurry(self) -> None:
        self._drain.hurry()
        self._config.graceful_timeout = 0
        self._shutdown_timeout = min(self._shutdown_timeout, CUT_SECONDS)
        soon = anyio.current_time() + CUT_SECONDS + LATE_SECONDS / 2
        self._patience.deadline = min(self._patience.deadline, soon)

    async def _serve(self, trigger: Trigger, signals: ProcessSignals | bool) -> None:
        async with anyio.create_task_group() as tasks:
            if isinstance(signals, ProcessSignals):
                self._ends_the_process = True
                signals.attach(self._ask_to_stop)
            elif signals:
                tasks.start_soon(self._obey_signals)
            # Use a separate task: before CPython 3.13 the `asyncio.TaskGroup` in Hypercorn leaves a
            # cancellation request behind in its task, which would look like one from outside.
            tasks.start_soon(self._run_hypercorn, tasks, trigger)

    async def _run_hypercorn(self, tasks: TaskGroup, trigger: Trigger) -> None:
        async def stopped() -> None:
            try:
                await _first_of(self._stop.wait, trigger)
                self._stop.set()
                tasks.start_soon(self._keep_the_bound, tasks)
                await self._drain.run(tasks)
                if self._drain.is_idle:
                    # From then on, Hypercorn waits only for its own tasks.
                    self._config.graceful_timeout = 0
            finally:
                # This is also reached when Hypercorn stops by itself, because of `max_requests`.
                tasks.start_soon(self._drop_what_stays)

        tasks.start_soon(self._network.look_for_hangups)
        serve = self._network.hypercorn_serve()
        await serve(self._drain, self._config, shutdown_trigger=stopped)
        # On asyncio, Hypercorn does not wait for all tasks that it has cancelled.
        self._network.drop_all()
        if self._stop.is_set():
            await self._drain.until_idle()
        tasks.cancel_scope.cancel()

    async def _obey_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread receives signals
        # A signal that the process was started to ignore (a background job of a shell) stays
        # ignored.
        wanted = [
            number
            for number in (signal.SIGINT, signal.SIGTERM)
            if signal.getsignal(number) is not signal.SIG_IGN
        ]
        with anyio.open_signal_receiver(*wanted) as signals:
            async for _ in signals:
                self._ask_to_stop()

    async def _drop_what_stays(self) -> None:
        """Drop connections, because Hypercorn waits without a limit for peers that do not read."""
        await anyio.sleep(self._config.graceful_timeout)
        while True:
            await anyio.sleep(LATE_SECONDS)
            self._network.drop_all()

    async def _keep_the_bound(self, tasks: TaskGroup) -> None:
        """Abandon handlers that are shielded or that swallow their cancellation."""
        now = anyio.current_time()
        self._patience.deadline = min(self._patience.deadline, now + self._bound)
        with self._patience:
            await anyio.sleep_forever()
        left = self._drain.describe_handlers()
        for line in left:
            logger.error("a handler does not end: %s", line)
        # Shut the lifespan down here, because Hypercorn does so only after the last handler's end.
        await self._lifespan.shut_down(self._shutdown_timeout)
        if left and self._ends_the_process:
            abandon()
        if left:
            tasks.cancel_scope.cancel()

    def _listen(self) -> Sockets:
        if self._lifespan.has_failed:
            return self._sockets  # Hypercorn's trio worker asks for them even if it stops at once
        if not running_on_trio() and isinstance(
            asyncio.get_running_loop(), asyncio.SelectorEventLoop
        ):
            make_patient(self._sockets, self._config.backlog)
            self._config.backlog = ACCEPT_BATCH
        for sock in (*self._sockets.secure_sockets, *self._sockets.insecure_sockets):
            sock.listen(self._config.backlog)
        self._started = True
        where = list(addresses(self._sockets))
        log_start(self._asked_for, where)
        self._report(where)
        return self._sockets


async def _first_of(*waits: Trigger) -> None:
    """Wait until one of the functions has returned."""
    async with anyio.create_task_group() as group:

        async def wait_for(wait: Trigger) -> None:
            await wait()
            group.cancel_scope.cancel()

        for wait in waits:
            group.start_soon(wait_for, wait)
