"""WebSockets on Hypercorn: `serve` and `run`, which end the connections before the server stops.

On trio and on asyncio. It needs the extra: ``pip install 'wsnursery[hypercorn]'``.
"""

from __future__ import annotations

try:
    import hypercorn.config
except ImportError as _missing:
    raise ImportError(
        "wsnursery.hypercorn needs Hypercorn: pip install 'wsnursery[hypercorn]'"
    ) from _missing

import anyio
from anyio.abc import TaskStatus

from ._config import Config, DeploymentError, bind, check_tls
from ._drain import ASGIApp
from ._health import Health
from ._loading import check_app
from ._logs import show_log
from ._process import check, complain, serve_process, status_of
from ._run import Trigger
from ._serving import drain_policy, serve_on
from ._workers import Workers

__all__ = ["Config", "DeploymentError", "Health", "run", "serve"]

# Show the public path in reprs, tracebacks and pickles, not the private module.
Config.__module__ = DeploymentError.__module__ = Health.__module__ = __name__


async def serve(  # noqa: ASYNC128 - `serve_on` calls `started`
    app: ASGIApp,
    config: hypercorn.config.Config,
    *,
    shutdown_trigger: Trigger | None = None,
    drain_timeout: float | None = None,
    drain_spread: float | None = None,
    drain_code: int | None = None,
    drain_reason: str | None = None,
    task_status: TaskStatus[list[str]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI application in this event loop; call it as Hypercorn's own ``serve``.

    ::

        trio.run(serve, app, Config.from_toml("hypercorn.toml"))
        asyncio.run(serve(app, Config()))

    When it is time to stop, it drains. New handshakes are answered with 503. The open WebSockets
    are closed, in batches spread over some seconds; their handlers have time to end, and those that
    have not are cancelled. Then Hypercorn stops as it always does: requests that are under way
    have its ``graceful_timeout``. What is still waiting for a peer after that is reset. All this
    takes at most ``drain_timeout + 2 * graceful_timeout + 3`` seconds, however stubborn the peers.
    Handlers that shield themselves from their cancellation are then named in the log, each with the
    line at which it stands. On asyncio this returns without them; on trio it waits for them,
    because no task can be left behind there. The shutdown of the lifespan has ``shutdown_timeout``
    more.

    The application may be anything, such as a framework's. In it, every WebSocket of this library
    is closed as by `wsnursery.WebSocket.close`; to a handler written against bare ``receive`` and
    ``send`` the close is sent behind its back, and what it sends after that Hypercorn refuses.

    Args:
        app: The application.
        config: `Config`, or Hypercorn's own, with whose defaults no vanished peer is noticed.
            ``workers`` and ``worker_class`` are ignored; see `run`.
        shutdown_trigger: An async function that returns when it is time to stop. Without one,
            SIGINT and SIGTERM say so, and the second one cuts the drain short. (Only in the main
            thread; elsewhere, cancel it.)
        drain_timeout: Seconds until handlers are cancelled. This and the next three: `None`, the
            default, for what `Config` says.
        drain_spread: Seconds over which the closes are spread.
        drain_code: The close code.
        drain_reason: The close reason.
        task_status: For ``await group.start(serve, app, config)``, which returns the addresses when
            it listens there.

    Raises:
        DeploymentError: It cannot start as it is configured.
        Exception: What Hypercorn raised, and what the trigger raised.

    *Checkpoint*: yes. *Cancellation*: as the trigger; it comes out when everything has been
    stopped. Before the application has started up, it stops at once.
    """
    policy = drain_policy(
        config, timeout=drain_timeout, spread=drain_spread, code=drain_code, reason=drain_reason
    )
    check_tls(config)
    await serve_on(
        bind(config),
        check_app(app),
        config,
        policy,
        trigger=shutdown_trigger,
        signals=shutdown_trigger is None,
        report=task_status.started,
    )


def run(
    app: ASGIApp | str,
    config: hypercorn.config.Config | None = None,
    *,
    factory: bool = False,
) -> int:
    """Serve until SIGINT or SIGTERM, in as many processes as the configuration says.

    A script ends with it::

        sys.exit(run("app:app", Config.from_toml("hypercorn.toml")))

    What keeps the server from starting (a port that is taken, a certificate that cannot be read, an
    unknown worker class, ...) is written to the standard error in one sentence.

    With one worker, this process serves. With several, it starts and watches them: one that dies is
    replaced after a pause, and the others go on. When the deaths follow one another, or the first
    workers cannot start, the service ends. A script that asks for several needs
    ``if __name__ == "__main__":`` around this call, because the workers import it.

    Handlers that do not end within the time of `serve` are named in the log, each with the line at
    which it stands, and the process ends without them, with status 1. A second signal gives them
    one second, and a third none.

    Args:
        app: The application, or where it is: ``"module:name"``, which several workers need, or
            ``"module:name()"`` for a function that makes it.
        config: ``worker_class`` is asyncio, trio or uvloop; `None` for the defaults.
            Hypercorn's reloader, ``daemon`` and ``pid_path`` are ignored.
        factory: ``app`` names a function that makes the application, also without parentheses.

    Returns:
        The exit status, 0 after a signal and 1 if it could not start, or a worker failed.
    """
    chosen = Config() if config is None else config

    def work() -> int:
        check(app, chosen)
        sockets = bind(chosen)
        if chosen.workers > 1:
            show_log(chosen)
            return Workers(str(app), chosen, sockets, factory=factory).run()
        serve_process(app, chosen, sockets, factory=factory)
        return 0

    return status_of(work, complain)
