"""What the tests of single modules share."""

from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from wsnursery import WebSocket
from wsnursery._engine.websocket import connection_of
from wsnursery.testing import Server


async def end_abnormally_during(
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
    connection_of(ws).lifecycle.end_abnormally(OSError())
    scope.cancel()
    await anyio.sleep_forever()


async def be_cancelled_as_it_ends(ws: WebSocket) -> None:
    """Receive, and be cancelled in the turn in which the connection ends; then ask again.

    The cancelled call has not informed its task of the end, so the next one does.
    """

    async def both() -> None:
        scope.cancel()
        connection_of(ws).lifecycle.end_abnormally(OSError("gone"))

    with anyio.CancelScope() as scope:
        ws.start_soon(both)
        await ws.receive()
    assert scope.cancelled_caught
    await ws.receive()
