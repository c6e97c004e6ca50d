"""A scenario for exploration, made of an application and a conversation with its client."""

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
    """Make a scenario of an application and a client that talks to it.

    A run fails in these cases:

    - The application raises an exception that was not injected and that ``may_raise`` does not
      allow, or an exception group.
    - The application does not end after the connection has ended.
    - An assertion in ``talk`` or ``check`` fails.
    - The conversation does not reach its end although nothing was injected.

    Args:
        app: The application.
        talk: The client's side of the conversation. An injected fault may interrupt it.
        may_raise: The exceptions that the application may raise when its connection breaks.
        check: Called at the end of every run, to assert what must hold whatever happened.
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
        # A task waits for ever for something that the injected fault prevented.
        client.vanish()
    except Exception as error:
        if error is not client.exception:  # the application's exception is checked later
            raise


def _judge(error: BaseException | None, run: Run, may_raise: tuple[type[Exception], ...]) -> None:
    if error is None or (error is run.injected) or isinstance(error, may_raise):
        return
    raise error
