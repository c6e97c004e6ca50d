"""A wrapper around the ASGI ``send`` of one connection that injects network faults."""

from __future__ import annotations

import errno
import os
from typing import Any

import anyio

from ._asgi import Send


class Seam:
    """Stands between the engine and the server's ``send``, and passes events on.

    A fault affects messages only. The handshake and the close are always passed on.

    Args:
        send: The ``send`` of the server.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._error: OSError | None = None
        self._stalled = False

    @property
    def fault(self) -> str:
        """The injected fault in one word; empty if there is none."""
        if self._error is not None:
            return "reset"
        return "stalled" if self._stalled else ""

    async def send(self, event: Any) -> None:
        """Send an ASGI event, unless a fault applies."""
        if event["type"] == "websocket.send":
            if self._error is not None:
                raise self._error
            if self._stalled:
                await anyio.sleep_forever()
        await self._send(event)

    def reset(self) -> None:
        """From now on, let every send raise the error for a client that is gone (ASGI 2.4)."""
        self._error = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    def stall(self) -> None:
        """From now on, let every send wait, as for a client that has stopped reading."""
        self._stalled = True
