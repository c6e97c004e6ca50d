"""One run of Hypercorn in an event loop: start it, drain it, and make sure that it stops."""

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
    """The drain policy of a configuration, with overrides.

    Args:
        config: If it is Hypercorn's own, the defaults of our `Config` apply.
        **given: Fields of the policy; `None` means the value in the configuration.

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
        signals: Stop at SIGINT and SIGTERM; the second signal cuts the drain short. The signals of
            the process also end the process when its time is over.
        report: Called with the addresses when the server listens.

    Raises:
        Exception: Any exception of Hypercorn, without the groups of one that nurseries make.

    *Cancellation*: stops the server, as the trigger does, and continues when it has stopped.
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
    if run.failure is not None and (error is None or isinstance(error, LifespanFailureError)):
        # The exception of the application has more information. Hypercorn does not raise at all if
        # it was stopped in the middle of the startup.
        raise run.failure
    if error is not None:
        raise error


def only_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the only exception in nested groups, or the group if there are several."""
    found = list(leaves(group))
    return found[0] if len(found) == 1 else group
