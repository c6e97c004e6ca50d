"""A server process: from a configuration and an application, or its name, to an exit status."""

from __future__ import annotations

import asyncio
import importlib
import logging
import ssl
import sys
from collections.abc import Callable
from functools import partial, reduce
from importlib.util import find_spec
from typing import Any

import anyio
import hypercorn.config
from hypercorn.config import Sockets
from hypercorn.utils import LifespanFailureError, LifespanTimeoutError

from wsnursery._backend.native import running_on_trio

from ._config import DeploymentError, check_tls
from ._drain import ASGIApp
from ._listening import Exhaustion
from ._logs import show_log
from ._serving import Trigger, drain_policy, serve_on

BACKENDS = {"asyncio": "asyncio", "trio": "trio", "uvloop": "asyncio"}
"""The worker classes, and the backends on which they run."""

REMEDIES = {"trio": "pip install 'wsnursery[hypercorn]'", "uvloop": "pip install uvloop"}
"""How to get what a worker class needs besides this library."""


def check(app: ASGIApp | str, config: hypercorn.config.Config) -> None:
    """Find what would keep a process from serving, before anything is started.

    Raises:
        DeploymentError: The reason.
    """
    worker = config.worker_class
    if worker not in BACKENDS:
        raise DeploymentError(f"there is no worker class {worker!r}: it is one of {[*BACKENDS]}")
    if worker in REMEDIES and find_spec(worker) is None:
        raise DeploymentError(f"the {worker} worker needs {worker}: {REMEDIES[worker]}")
    if config.workers > 1 and not isinstance(app, str):
        raise DeploymentError(
            "several workers import the application, each by itself: give it as 'module:name'"
        )
    drain_policy(config)
    check_tls(config)


def load(name: str) -> ASGIApp:
    """Import an application.

    Args:
        name: ``"module:name"``; the name may have dots and is ``app`` if it is left out.

    Raises:
        DeploymentError: There is no such module, or it has no such name.
        Exception: What the module raised.
    """
    module, _, attributes = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise  # the application is there, and lacks something itself
        raise DeploymentError(f"cannot load the application {name!r}: {exc}") from exc
    try:
        app: ASGIApp = reduce(getattr, (attributes or "app").split("."), found)
    except AttributeError as exc:
        raise DeploymentError(f"cannot load the application {name!r}: {exc}") from exc
    return app


def serve_process(
    app: ASGIApp | str,
    config: hypercorn.config.Config,
    sockets: Sockets,
    trigger: Trigger | None = None,
) -> None:
    """Serve in an event loop of its own until a signal comes, or the trigger returns."""
    loaded = load(app) if isinstance(app, str) else app
    show_log(config)
    backend = BACKENDS[config.worker_class]
    options = {"use_uvloop": config.worker_class == "uvloop"} if backend == "asyncio" else {}

    exhaustion = Exhaustion()

    async def main() -> None:
        if not running_on_trio():
            handler = partial(_without_noise, exhaustion)
            asyncio.get_running_loop().set_exception_handler(handler)
        await serve_on(sockets, loaded, config, drain_policy(config), trigger=trigger)

    trios = logging.getLogger("trio.serve_listeners")
    trios.addFilter(exhaustion)
    try:
        anyio.run(main, backend=backend, backend_options=options)
    finally:
        trios.removeFilter(exhaustion)


def _without_noise(
    exhaustion: Exhaustion, loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """Log what asyncio reports, except what is no fault.

    A TLS handshake that failed is the peer's business, as in Hypercorn's own workers; and asyncio's
    streams report the connections that Hypercorn cancels when it stops.
    """
    exc = context.get("exception")
    if "out of system resource" in context.get("message", ""):
        exhaustion.report(exc)
    elif not isinstance(exc, ssl.SSLError | asyncio.CancelledError):
        loop.default_exception_handler(context)


def status_of(work: Callable[[], int], speak: Callable[[str], object]) -> int:
    """Do it, and turn what a deployer can mend into a sentence and a status.

    Args:
        work: Returns an exit status.
        speak: Told the sentence.
    """
    try:
        return work()
    except (DeploymentError, LifespanFailureError, LifespanTimeoutError) as exc:
        speak(f"{exc}\n")
        return 1
    except KeyboardInterrupt:  # too early for anybody to be told
        return 0


def complain(sentence: str) -> None:
    """Say it on the standard error."""
    sys.stderr.write(sentence)
