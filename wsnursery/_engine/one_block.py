"""One connection has one block, which one task enters and leaves."""

from __future__ import annotations

from typing import Any, cast

from wsnursery._errors import LocalProtocolError
from wsnursery._types import Scope

from .connection import Connection

_CLAIMED = "wsnursery.entered"
"""The key in the scope of a connection whose block has been entered. It is in the scope because two
calls of ``open_websocket`` for one connection share nothing else."""


def claim(scope: Scope) -> None:
    """Note that the block of a connection is being entered.

    Raises:
        LocalProtocolError: It has been entered before.
    """
    if scope.get(_CLAIMED):
        raise LocalProtocolError(
            "an ASGI scope must have one block, got a second: its handshake and its messages "
            "belong to the first, so call open_websocket() once and pass that WebSocket on"
        )
    cast("dict[str, Any]", scope)[_CLAIMED] = True  # ASGI promises a dict


def check_leaver(connection: Connection) -> None:
    """Refuse to leave the block in a task that has not entered it.

    The cancel scopes of the block belong to the task that has entered it, so leaving it elsewhere
    would wait for that task for ever.

    Raises:
        LocalProtocolError: The running task is another one.
        anyio.ClosedResourceError: The block has been left.
    """
    connection.lifecycle.refuse_after_block()
    if connection.backend.current_task() is not connection.tasks.body.task:
        raise LocalProtocolError(
            "the block of a WebSocket must be left by the task that entered it, got another task: "
            "write `async with` in a coroutine of one task, not around the `yield` of an async "
            "generator or a fixture, and not with unittest's enterAsyncContext()"
        )
