"""One run of Hypercorn in an event loop: start it, drain, let it stop, and see that it does."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import hypercorn.config
from hypercorn.config import Sockets
from hypercorn.utils import LifespanFailureError

from wsnursery._engine.outcome import leaves
from wsnursery._errors import LocalProtocolError

from ._config import Config, DeploymentError
from ._drain import ASGIApp, DrainPolicy
from ._run import ServeRun, Trigger
from ._signals import ProcessSignals


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
    signals: ProcessSignals | bool = True,
    report: Callable[[list[str]], None] = lambda _: None,
) -> None:
    """Serve on sockets until the trigger returns or a signal comes. They are closed at the end.

    Args:
        sockets: What to listen on.
        app: The application.
        config: Hypercorn's configuration. It is not changed.
        policy: The drain.
        trigger: When to stop.
        signals: Stop at SIGINT and SIGTERM; the second one cuts the drain short. With those of the
            process it also ends the process when the time is over.
        report: Told the addresses when it listens.

    Raises:
        Exception: What Hypercorn raised. Trio's nurseries have put it into groups of one.

    *Cancellation*: as the trigger. It comes out when everything has been stopped.
    """
    run = ServeRun(sockets, app, config, policy, report)
    error: BaseException | None = None
    try:
        await run.until(trigger or anyio.sleep_forever, signals)
    except BaseExceptionGroup as group:
        error = only_leaf(group)
    finally:
        for sock in (*sockets.secure_sockets, *sockets.insecure_sockets, *sockets.quic_sockets):
            sock.close()
    if isinstance(error, LifespanFailureError) and run.failure is not None:
        raise run.failure  # what the application raised says more
    if error is not None:
        raise error


def only_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in nested groups, or the group if there are several."""
    found = list(leaves(group))
    return found[0] if len(found) == 1 else group
