"""WebSockets on Hypercorn: `serve` and `run`, which close the connections before the server stops.

It runs on trio and on asyncio, and needs the extra: ``pip install 'wsnursery[hypercorn]'``.
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
    """Serve an ASGI application in this event loop, with the arguments of Hypercorn's ``serve``.

    ::

        trio.run(serve, app, Config.from_toml("hypercorn.toml"))
        asyncio.run(serve(app, Config()))

    To stop, it drains. New handshakes are answered with 503. The open WebSockets are closed, in
    batches spread over some seconds. Their handlers have time to end, and those that do not end are
    cancelled. Then Hypercorn stops as usual: requests in flight have its ``graceful_timeout``.
    Connections that still wait for a peer after that are reset. All this takes at most
    ``drain_timeout + 2 * graceful_timeout + 3`` seconds, whatever the peers do. Then handlers that
    are shielded from their cancellation are named in the log, each with the line at which it
    stands. On asyncio this call returns without them. On trio it waits for them, because trio does
    not allow a task to be left behind. The shutdown of the lifespan takes at most
    ``shutdown_timeout`` more.

    Any ASGI application works, such as that of a framework. Every WebSocket of this library in it
    is closed as by `wsnursery.WebSocket.close`. For a handler written against bare ``receive`` and
    ``send``, the close is sent without its knowledge. If it sends after that, Hypercorn refuses.

    Args:
        app: The application.
        config: A `Config`, or Hypercorn's own, with whose defaults a vanished peer is not noticed.
            ``workers`` and ``worker_class`` are ignored; see `run`.
        shutdown_trigger: An async function that returns when it is time to stop. Without one,
            SIGINT and SIGTERM stop the server, and the second signal cuts the drain short. (Only in
            the main thread; elsewhere, cancel this call.)
        drain_timeout: Seconds until handlers are cancelled. For this argument and the next three,
            `None` means the value in `config`.
        drain_spread: Seconds over which the closes are spread.
        drain_code: The close code.
        drain_reason: The close reason.
        task_status: For ``await group.start(serve, app, config)``, which returns the addresses when
            the server listens.

    Raises:
        DeploymentError: It cannot start with this configuration.
        Exception: Any exception of Hypercorn or of the trigger.

    *Checkpoint*: yes. *Cancellation*: stops the server, as the trigger does, and continues when the
    server has stopped. Before the application has started up, the server stops at once.
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

    Call it at the end of a script::

        sys.exit(run("app:app", Config.from_toml("hypercorn.toml")))

    If the server cannot start (a port in use, a certificate that cannot be read, an unknown worker
    class, ...), the reason is written to standard error in one sentence.

    With one worker, this process serves. With several, it starts and watches them: a worker that
    dies is replaced after a pause, and the others continue. After several deaths in a row, or if
    the first workers cannot start, the service ends. A script with several workers needs
    ``if __name__ == "__main__":`` around this call, because the workers import it.

    Handlers that do not end within the time of `serve` are named in the log, each with the line at
    which it stands. Then the process ends without them, with status 1. After a second signal they
    have one second. A third signal ends the process at once.

    Args:
        app: The application or its import path: ``"module:name"``, or ``"module:name()"`` for a
            function that makes the application. Several workers need an import path.
        config: The configuration, in which ``worker_class`` is asyncio, trio or uvloop. `None`
            means the defaults. Hypercorn's reloader, ``daemon`` and ``pid_path`` are ignored.
        factory: Whether ``app`` names a function that makes the application. Then it needs no
            parentheses.

    Returns:
        The exit status, 0 after a signal and 1 if the server could not start or a worker failed.
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
