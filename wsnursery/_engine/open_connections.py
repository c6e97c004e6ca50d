"""The open connections of a server or an application, and how to end all of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

import anyio

from wsnursery._errors import LocalProtocolError
from wsnursery._options import Options
from wsnursery._types import Scope

from .connection import THROUGH_TASKS
from .events import Disconnect, Outgoing
from .websocket import WebSocket, make_websocket

logger = logging.getLogger("wsnursery")

BATCH_SECONDS = 0.1
"""Seconds between two batches of closes."""

SMALLEST_BATCH = 10
"""The least number of closes in a batch, because ten clients that reconnect at once do no harm."""

RETRY_STATUS = 503
RETRY_HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"1")]
RETRY_BODY = b"This server is being restarted: try again.\n"

C = TypeVar("C", bound=Hashable)

EndConnection = Callable[[C, int, str], Awaitable[None]]
"""An async function that ends one connection with a close code and a reason."""


async def close_websocket(ws: WebSocket, code: int, reason: str) -> None:
    """Close a connection; deny its handshake with 503 if it has not been accepted.

    *Checkpoint*: yes, bounded by ``Options.close_timeout``. *Cancellation*: the close is sent
    anyway.

    Raises:
        LocalProtocolError: The block has not been entered; see `deny_before_entry`.
        anyio.ClosedResourceError: The block has been left.
    """
    if ws.state in ("connecting", "requested"):
        await ws.reject(RETRY_STATUS, RETRY_HEADERS, RETRY_BODY)
    else:
        await ws.close(code, reason)


async def cancel_websocket(ws: WebSocket, code: int, reason: str) -> None:
    """Cancel the handler of a connection, even if the connection has not been closed yet."""
    scope = ws.cancel_scope
    # A cancelled block would close with 1000, so begin the right close first. The scope around the
    # call is already cancelled, so the call queues the close and does not wait for the peer.
    with anyio.CancelScope() as at_once:
        at_once.cancel()
        await close_websocket(ws, code, reason)
    scope.cancel()


def break_websocket(ws: WebSocket, cause: Exception) -> None:
    """End a connection abnormally, if its block is open, because its peer is gone."""
    connection = ws._connection_or_none  # pyright: ignore[reportPrivateUsage]
    if connection is not None and connection.tasks.group is not None:
        connection.lifecycle.end_abnormally(cause)


async def deny_before_entry(ws: WebSocket) -> None:
    """Deny the handshake of a WebSocket that was opened but not entered yet, with 503.

    Its block can still be entered. To the block, the client has then gone.

    *Checkpoint*: yes.
    """
    transport = ws._transport  # pyright: ignore[reportPrivateUsage]
    # Copy the scope, because the block that denies claims the original one.
    ws._transport = Gone(dict(transport.scope))  # pyright: ignore[reportPrivateUsage]
    ws._sides = THROUGH_TASKS  # pyright: ignore[reportPrivateUsage]
    # Use no hooks and default limits, because the application is not involved in this block.
    async with make_websocket(transport, Options()) as denied:
        await denied.reject(RETRY_STATUS, RETRY_HEADERS, RETRY_BODY)


def is_entered(ws: WebSocket) -> bool:
    """Whether the block of a WebSocket has been entered."""
    return ws._connection_or_none is not None  # pyright: ignore[reportPrivateUsage]


class Gone:
    """A transport whose client has gone before the block was entered."""

    drains = False
    receive_blocks_close = False
    round_trip_time: float | None = None

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def receive(self) -> Disconnect:
        """The disconnect, at once."""
        return Disconnect(None, "")

    async def send(self, event: Outgoing) -> None:
        """Raise as a server does whose client has gone."""
        raise BrokenPipeError("the handshake was denied because the server stops")

    def says_gone(self, exc: Exception) -> bool:
        """Return true, because `send` raises no other exception."""
        return True

    def abort(self) -> bool:
        """Return false, because there is no connection to drop."""
        return False


class OpenConnections(Generic[C]):
    """The connections that are open, oldest first.

    Args:
        close: Closes one connection. If it raises, that is logged, and the others are closed.
        cancel: Cancels the handler of one connection that has not ended in time.
    """

    def __init__(self, close: EndConnection[C], cancel: EndConnection[C]) -> None:
        self._close = close
        self._cancel = cancel
        self._open: dict[C, None] = {}
        self._waits: dict[_Wait[C], None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[C]:
        return iter(tuple(self._open))

    def add(self, connection: C) -> None:
        """Add a connection that has opened."""
        self._open[connection] = None

    def discard(self, connection: C) -> None:
        """Remove a connection that has ended, or that never opened."""
        self._open.pop(connection, None)
        for wait in self._waits:
            wait.ended(connection)

    async def end_all(
        self,
        start_soon: Callable[..., object],
        code: int,
        reason: str,
        *,
        limit: anyio.CancelScope,
        spread: float = 0.0,
    ) -> int:
        """Close the open connections, wait for their end, and cancel those that do not end in time.

        Connections that open later are not affected.

        Args:
            start_soon: The method of a task group or nursery. It runs the closes, each of which may
                outlast this call, up to its own time limit.
            code: The close code.
            reason: The close reason.
            limit: Its deadline or its cancellation ends the wait. It is entered here.
            spread: Seconds over which the closes are spread. The spread is shorter if there would
                be fewer than `SMALLEST_BATCH` closes in `BATCH_SECONDS`.

        Returns:
            The number of connections that had to be cancelled.

        *Checkpoint*: yes, if there are any. *Cancellation*: the closes that have begun are sent
        anyway, and no handler is cancelled.
        """
        with _Wait(self._open, self._waits) as wait:
            with limit:
                await self._close_in_batches(start_soon, wait.left, code, reason, spread)
                await wait.over()
            late = tuple(wait.left)
            for connection in late:
                if connection in wait.left:
                    await self._guarded(self._cancel, connection, code, reason)
        return len(late)

    async def _close_in_batches(
        self,
        start_soon: Callable[..., object],
        left: dict[C, None],
        code: int,
        reason: str,
        spread: float,
    ) -> None:
        waiting = tuple(left)
        batches = max(1, math.floor(spread / BATCH_SECONDS))
        # Without a spread, every close is started before the first checkpoint of this call.
        size = max(SMALLEST_BATCH if spread else 1, math.ceil(len(waiting) / batches))
        for start in range(0, len(waiting), size):
            if start:
                await anyio.sleep(BATCH_SECONDS)
            for connection in waiting[start : start + size]:
                if connection in left:
                    start_soon(self._guarded, self._close, connection, code, reason)

    async def _guarded(self, end: EndConnection[C], connection: C, code: int, reason: str) -> None:
        """End one connection. A failure must not keep the others from being ended."""
        try:
            with suppress(anyio.ClosedResourceError, LocalProtocolError):  # it has ended meanwhile
                await end(connection, code, reason)
        except Exception:
            logger.warning("could not close %r", connection, exc_info=True)

    async def until_empty(self) -> None:
        """Wait until every connection that is open now has ended."""
        with _Wait(self._open, self._waits) as wait:
            await wait.over()


class _Wait(Generic[C]):
    """The connections for which one caller waits."""

    def __init__(self, connections: Iterable[C], waits: dict[_Wait[C], None]) -> None:
        self.left = dict.fromkeys(connections)
        self._waits = waits
        self._over = anyio.Event()

    def __enter__(self) -> _Wait[C]:
        self._waits[self] = None
        return self

    def __exit__(self, *_: object) -> None:
        del self._waits[self]

    def ended(self, connection: C) -> None:
        self.left.pop(connection, None)
        if not self.left:
            self._over.set()

    async def over(self) -> None:
        if self.left:
            await self._over.wait()
