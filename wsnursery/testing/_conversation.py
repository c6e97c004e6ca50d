"""A scenario for exploration out of an application and what its client says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio

from ._client import Application, Client, ClientServer
from ._errors import ApplicationStuck, ConnectionEnded, HandshakeDenied

if TYPE_CHECKING:
    from ._run import Run

Talk = Callable[[Client], Awaitable[None]]
Scenario = Callable[["Run"], Awaitable[None]]


def conversation(
    app: Application,
    talk: Talk,
    *,
    may_raise: tuple[type[Exception], ...] = (),
    check: Callable[[Client], None] | None = None,
    **arguments: Any,
) -> Scenario:
    """A scenario: this application, and a client that talks to it.

    A run fails when

    - the application raises anything but what was injected or ``may_raise`` allows, or an
      exception group;
    - the application does not end after the connection has;
    - an assertion in ``talk`` or ``check`` fails;
    - nothing was injected and the conversation does not happen to its end all the same.

    Args:
        app: The application.
        talk: What the client says and expects. It may be cut short where something is injected.
        may_raise: What the application may raise when its connection breaks.
        check: Called at the end of every run, for what must hold whatever happened.
        arguments: The arguments of :class:`Server`.
    """

    async def scenario(run: Run) -> None:
        async def explored(scope: Any, receive: Any, send: Any) -> None:
            async with run.target():
                await app(scope, receive, send)

        server = ClientServer(**arguments, faults=[run.fault()])
        run.adopt(server)
        client = server.client
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.run, explored)
            await _talk(client, talk, run)
            client.close()
            await client.until_finished()
        _judge(client.exception, run, may_raise)
        if check is not None:
            check(client)

    return scenario


async def _talk(client: Client, talk: Talk, run: Run) -> None:
    try:
        await client.handshake()
        await talk(client)
    except (ConnectionEnded, HandshakeDenied):
        if run.quiet:
            raise
    except ApplicationStuck:
        if not run.interfered:
            raise
        # Somebody waits for ever for what the injected fault has swallowed.
        client.vanish()
    except Exception as error:
        if error is not client.exception:  # the application's, which is judged later
            raise


def _judge(error: BaseException | None, run: Run, may_raise: tuple[type[Exception], ...]) -> None:
    if error is None or (error is run.injected) or isinstance(error, may_raise):
        return
    raise error
