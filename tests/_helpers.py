"""What the tests of single modules share."""

from collections.abc import Callable, Coroutine
from typing import Any, cast

import anyio
from anyio.abc import TaskGroup

from wsnursery import WebSocket
from wsnursery._backend.native import native
from wsnursery._engine.connection import Connection
from wsnursery._engine.outcome import Source
from wsnursery._engine.websocket import connection_of
from wsnursery.testing import Server


async def break_off_during(
    ws: WebSocket,
    server: Server,
    child: Callable[[anyio.Event, anyio.CancelScope], Coroutine[Any, Any, None]],
) -> None:
    """A body that ends the connection and cancels a scope in the tick in which a child calls.

    Args:
        ws: The block's.
        server: Its server; a message is there to take.
        child: Sets the event, then makes its call inside the scope.
    """
    ready, scope = anyio.Event(), anyio.CancelScope()
    await ws.accept()
    server.peer.send_nowait("a message to take")
    await anyio.wait_all_tasks_blocked()
    ws.start_soon(child, ready, scope)
    await ready.wait()
    connection_of(ws).break_off(OSError())
    scope.cancel()
    await anyio.sleep_forever()


class Owner:
    """What one of the connection's own tasks sees of its connection, and what it does to it."""

    def __init__(self, group: TaskGroup | None = None) -> None:
        self.options = self.transport = None
        self.native = native()
        self.service_group = group
        self.failures: list[tuple[Source, BaseException]] = []
        self.broken_off: list[BaseException | None] = []
        self.ended = 0

    @property
    def connection(self) -> Connection:
        """This, where a connection is wanted."""
        return cast("Connection", self)

    def fail(self, source: Source, error: BaseException) -> None:
        """Something failed that ends the application."""
        self.failures.append((source, error))

    def break_off(self, cause: BaseException | None) -> None:
        """End it as broken."""
        self.broken_off.append(cause)

    def service_ended(self) -> None:
        """One of the own tasks has ended."""
        self.ended += 1
