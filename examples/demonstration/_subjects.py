"""The connections that are shown and can be broken, with the objects that break them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import anyio

from wsnursery import Options, WebSocket, open_websocket

from ._asgi import Receive, Scope, Send
from ._seam import Seam

_logger = logging.getLogger("wsnursery")

Handler = Callable[[WebSocket], Awaitable[None]]


@dataclass(frozen=True, eq=False, slots=True)
class Subject:
    """One connection, with the objects around it."""

    ws: WebSocket
    seam: Seam
    """The wrapper between the engine and the server."""
    outside: anyio.CancelScope
    """The scope around the block. It represents the scope of a server or of an outer task group."""

    @property
    def id(self) -> str:
        """The identifier of the connection, here and in the page."""
        return str(self.ws.id)


class Subjects:
    """The open connections.

    Args:
        options: The limits of each connection.
    """

    def __init__(self, options: Options) -> None:
        self.options: Options = options
        self._open: dict[str, Subject] = {}

    def get(self, connection: str) -> Subject | None:
        """An open connection."""
        return self._open.get(connection)

    def __iter__(self) -> Iterator[Subject]:
        """The open connections, oldest first; a snapshot."""
        return iter(tuple(self._open.values()))

    async def serve(self, handler: Handler, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope of type ``websocket``."""
        seam = Seam(send)
        subject: Subject | None = None
        try:
            with anyio.CancelScope() as outside:
                async with open_websocket(scope, receive, seam.send, options=self.options) as ws:
                    subject = Subject(ws, seam, outside)
                    self._open[subject.id] = subject
                    await handler(ws)
        except Exception as exc:  # noqa: BLE001 - the page shows it; a server would log a traceback
            _logger.debug("a connection of the demonstration ended: %r", exc)
        finally:
            if subject is not None:
                del self._open[subject.id]
