"""A server process, from a configuration and an application to an exit status."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import anyio
import hypercorn.config
from hypercorn.config import Sockets
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError

from wsnursery._backend.running import running_on_trio

from ._backends import WORKER_CLASSES
from ._config import DeploymentError, check_tls
from ._drain import ASGIApp
from ._listening import Exhaustion
from ._loading import check_app, load
from ._logs import show_log
from ._run import Trigger, seconds_to_end
from ._serving import drain_policy, serve_on
from ._signals import ProcessSignals

REMEDIES = {"trio": "pip install 'wsnursery[hypercorn]'", "uvloop": "pip install uvloop"}
"""How to install what a worker class needs in addition to this library."""


def check(app: ASGIApp | str, config: hypercorn.config.Config) -> None:
    """Check that a process can serve, before anything is started.

    Raises:
        DeploymentError: It cannot serve.
    """
    worker = config.worker_class
    if worker not in WORKER_CLASSES:
        raise DeploymentError(
            f"worker_class must be one of {', '.join(WORKER_CLASSES)}, got {worker!r}"
        )
    if worker in REMEDIES and find_spec(worker) is None:
        raise DeploymentError(f"the {worker} worker needs {worker}: {REMEDIES[worker]}")
    if config.workers > 1 and not isinstance(app, str):
        raise DeploymentError(
            "the application must be 'module:name' with several workers, got an object: give the "
            "name, because each worker imports the application"
        )
    drain_policy(config)
    check_tls(config)


def serve_process(
    app: ASGIApp | str,
    config: hypercorn.config.Config,
    sockets: Sockets,
    trigger: Trigger | None = None,
    *,
    factory: bool = False,
    report: Callable[[list[str]], None] = lambda _: None,
) -> None:
    """Serve in an event loop of its own until a signal comes, or the trigger returns.

    Args:
        app: The application or its import path.
        config: The configuration.
        sockets: What to listen on.
        trigger: When to stop.
        factory: Whether ``app`` names a function that makes the application.
        report: Called with the addresses when the server listens.
    """
    loaded = load(app, factory=factory) if isinstance(app, str) else check_app(app)
    show_log(config)
    backend = WORKER_CLASSES[config.worker_class]
    options = {"use_uvloop": config.worker_class == "uvloop"} if backend == "asyncio" else {}

    policy = drain_policy(config)
    bound = seconds_to_end(config, policy) + config.shutdown_timeout
    exhaustion = Exhaustion()

    async def main() -> None:
        if not running_on_trio():
            handler = partial(_without_noise, exhaustion)
            asyncio.get_running_loop().set_exception_handler(handler)
        await serve_on(
            sockets, loaded, config, policy, trigger=trigger, signals=signals, report=report
        )

    trios = logging.getLogger("trio.serve_listeners")
    trios.addFilter(exhaustion)
    try:
        with ProcessSignals(bound) as signals:
            anyio.run(main, backend=backend, backend_options=options)
    finally:
        trios.removeFilter(exhaustion)


def _without_noise(
    exhaustion: Exhaustion, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """Log what asyncio reports, except for three cases that are not errors of the server.

    A failed TLS handshake is an error of the peer, as in Hypercorn's own workers. asyncio's streams
    report the connections that Hypercorn cancels when it stops. And a worker that is told to stop
    because another one cannot start may be about to fail for the same reason.
    """
    exc = context.get("exception")
    if "out of system resource" in context.get("message", ""):
        exhaustion.report(exc)
    elif not isinstance(exc, ssl.SSLError | asyncio.CancelledError | LifespanFailureError):
        loop.default_exception_handler(context)


def status_of(work: Callable[[], int], speak: Callable[[str], object]) -> int:
    """Call a function, and turn an error that a deployer can fix into a sentence and a status.

    Args:
        work: The function, which returns an exit status.
        speak: Called with the sentence.
    """
    try:
        return work()
    except (DeploymentError, LifespanFailureError, LifespanTimeoutError) as exc:
        speak(f"{exc}\n")
        return 1
    except KeyboardInterrupt:  # before the server has started, so there is nothing to report
        return 0


def complain(sentence: str) -> None:
    """Write a sentence to standard error."""
    sys.stderr.write(sentence)
