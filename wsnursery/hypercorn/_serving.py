"""One run of Hypercorn in an event loop: start it, drain, let it stop, and see that it does."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from typing import Any

import anyio
import anyio.lowlevel
import hypercorn.config
from anyio.abc import TaskGroup
from hypercorn.config import Sockets

from wsnursery._backend.native import running_on_trio
from wsnursery._engine.outcome import leaves
from wsnursery._errors import LocalProtocolError
from wsnursery._types import Receive, Scope, Send

from ._config import Config, DeploymentError
from ._drain import ASGIApp, Drain, DrainPolicy
from ._listening import ACCEPT_BATCH, addresses, make_patient
from ._network import NetworkConnections

LATE_SECONDS = 1.0
"""Seconds that Hypercorn has after its ``graceful_timeout`` before what it still waits for is
dropped; then it is looked at again after the same time."""

Trigger = Callable[[], Awaitable[object]]
"""What returns when it is time to stop."""


def drain_policy(config: hypercorn.config.Config, **given: float | str | None) -> DrainPolicy:
    """The drain that a configuration asks for, and what was given to override it.

    Args:
        config: If it is Hypercorn's own, it counts as the defaults of ours.
        **given: Fields of the policy; `None` for what the configuration says.

    Raises:
        DeploymentError: A value is out of range.
    """
    source = config if isinstance(config, Config) else Config
    names = ("timeout", "spread", "code", "reason")
    values = {name: getattr(source, f"drain_{name}") for name in names}
    values |= {name: value for name, value in given.items() if value is not None}
    try:
        return DrainPolicy(**values)
    except (LocalProtocolError, TypeError, ValueError) as exc:
        raise DeploymentError(f"cannot drain so: {exc}") from exc


async def serve_on(
    sockets: Sockets,
    app: ASGIApp,
    config: hypercorn.config.Config,
    policy: DrainPolicy,
    *,
    trigger: Trigger | None = None,
    obeys_signals: bool = True,
    report: Callable[[list[str]], None] = lambda _: None,
) -> None:
    """Serve on sockets until the trigger returns or a signal comes. They are closed at the end.

    Args:
        sockets: What to listen on.
        app: The application.
        config: Hypercorn's configuration. It is not changed.
        policy: The drain.
        trigger: When to stop.
        obeys_signals: Stop at SIGINT and SIGTERM; the second one cuts the drain short.
        report: Told the addresses when it listens.

    Raises:
        Exception: What Hypercorn raised. Trio's nurseries have put it into groups of one.

    *Cancellation*: as the trigger. It comes out when everything has been stopped.
    """
    run = _Run(sockets, app, config, policy, report)
    error: BaseException | None = None
    try:
        await run.until(trigger or anyio.sleep_forever, obeys_signals=obeys_signals)
    except BaseExceptionGroup as group:
        error = only_leaf(group)
    finally:
        for sock in (*sockets.secure_sockets, *sockets.insecure_sockets, *sockets.quic_sockets):
            sock.close()
    if error is not None:
        raise error


class _Run:
    """One run of Hypercorn, and what is done beside it."""

    def __init__(
        self,
        sockets: Sockets,
        app: ASGIApp,
        config: hypercorn.config.Config,
        policy: DrainPolicy,
        report: Callable[[list[str]], None],
    ) -> None:
        self._drain = Drain(_staying(app), policy)
        self._network = NetworkConnections(
            getattr(config, "hangup_timeout", Config.hangup_timeout), self._drain.peer_has_gone
        )
        self._sockets = sockets
        self._config = copy(config)
        self._config.workers = 1  # this one
        # Hypercorn asks for the sockets when the application has started up.
        self._config.create_sockets = self._listen  # type: ignore[method-assign]
        self._report = report
        self._started = False
        self._stop = anyio.Event()
        self._shelter = anyio.CancelScope(shield=True)

    async def until(self, trigger: Trigger, *, obeys_signals: bool) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._stop_when_cancelled)
            with self._shelter:
                await self._serve(trigger, obeys_signals=obeys_signals)
            group.cancel_scope.cancel()
        await anyio.lowlevel.checkpoint_if_cancelled()

    async def _stop_when_cancelled(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        """The first time, drain; then no longer. Before the start there is nothing to drain."""
        if not self._started:
            self._shelter.cancel()
        elif self._stop.is_set():
            self._drain.hurry()
        else:
            self._stop.set()

    async def _serve(self, trigger: Trigger, *, obeys_signals: bool) -> None:
        async with anyio.create_task_group() as tasks:
            if obeys_signals:
                tasks.start_soon(self._obey_signals)
            # In a task of its own: before CPython 3.13 the `asyncio.TaskGroup` in Hypercorn leaves
            # a cancellation request behind in its task, which would be taken for one from outside.
            tasks.start_soon(self._run_hypercorn, tasks, trigger)

    async def _run_hypercorn(self, tasks: TaskGroup, trigger: Trigger) -> None:
        async def stopped() -> None:
            try:
                await _first_of(self._stop.wait, trigger)
                await self._drain.run(tasks)
                if self._drain.is_idle:
                    # What Hypercorn waits for are then its own tasks, which sleep to the next ping.
                    self._config.graceful_timeout = 0
            finally:
                # Also when Hypercorn stops by itself, for `max_requests`.
                tasks.start_soon(self._see_that_it_ends)

        tasks.start_soon(self._network.look_for_hangups)
        serve = self._network.hypercorn_serve()
        await serve(self._drain, self._config, shutdown_trigger=stopped)
        # On asyncio it does not wait for all that it has cancelled.
        self._network.drop_all()
        tasks.cancel_scope.cancel()

    async def _obey_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread is given signals
        # What the process was started to ignore (as a background job of a shell) stays so.
        wanted = [
            number
            for number in (signal.SIGINT, signal.SIGTERM)
            if signal.getsignal(number) is not signal.SIG_IGN
        ]
        with anyio.open_signal_receiver(*wanted) as signals:
            async for _ in signals:
                self._ask_to_stop()

    async def _see_that_it_ends(self) -> None:
        """Hypercorn waits without a bound for peers that do not read."""
        await anyio.sleep(self._config.graceful_timeout)
        while True:
            await anyio.sleep(LATE_SECONDS)
            self._network.drop_all()

    def _listen(self) -> Sockets:
        if not running_on_trio() and isinstance(
            asyncio.get_running_loop(), asyncio.SelectorEventLoop
        ):
            make_patient(self._sockets, self._config.backlog)
            self._config.backlog = ACCEPT_BATCH
        for sock in (*self._sockets.secure_sockets, *self._sockets.insecure_sockets):
            sock.listen(self._config.backlog)
        self._started = True
        self._report(list(addresses(self._sockets)))
        return self._sockets


def only_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in nested groups, or the group if there are several."""
    found = list(leaves(group))
    return found[0] if len(found) == 1 else group


async def _first_of(*waits: Trigger) -> None:
    """Wait until one of them has returned."""
    async with anyio.create_task_group() as group:

        async def wait_for(wait: Trigger) -> None:
            await wait()
            group.cancel_scope.cancel()

        for wait in waits:
            group.start_soon(wait_for, wait)


def _staying(app: ASGIApp) -> ASGIApp:
    """Let an application return from the lifespan as early as it likes.

    The ASGI specification wants an exception of one that does not support it, and says nothing of a
    return. Hypercorn's trio worker dies of one.
    """

    async def staying(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            lifespan = _Lifespan(receive, send)
            await app(scope, lifespan.receive, lifespan.send)
            await lifespan.finish()
        else:
            await app(scope, receive, send)

    return staying


class _Lifespan:
    """The server's side of a lifespan, which remembers how far it has come."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._phase = ""
        self._answered = True

    async def receive(self) -> Mapping[str, Any]:
        event = await self._receive()
        self._phase, self._answered = event["type"], False
        return event

    async def send(self, event: Any) -> None:
        self._answered = True
        await self._send(event)

    async def finish(self) -> None:
        """Acknowledge what the application has left unanswered, up to the shutdown."""
        while True:
            if not self._answered:
                await self.send({"type": f"{self._phase}.complete"})
            if self._phase == "lifespan.shutdown":
                return
            await self.receive()
