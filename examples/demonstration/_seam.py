"""The ASGI ``send`` of one connection, with the faults of a bad network."""

from __future__ import annotations

import errno
import os
from typing import Any

import anyio

from ._asgi import Send


class Seam:
    """Between the engine and the server's ``send``. It passes everything on until told not to.

    Only messages meet a fault: the handshake and the close go through.

    Args:
        send: The server's own.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._error: OSError | None = None
        self._stalled = False

    @property
    def fault(self) -> str:
        """What is wrong with it, in a word; empty if nothing is."""
        if self._error is not None:
            return "reset"
        return "stalled" if self._stalled else ""

    async def send(self, event: Any) -> None:
        """The ASGI ``send``."""
        if event["type"] == "websocket.send":
            if self._error is not None:
                raise self._error
            if self._stalled:
                await anyio.sleep_forever()
        await self._send(event)

    def reset(self) -> None:
        """Let every send from now on raise what a server raises whose client is gone (ASGI 2.4)."""
        self._error = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    def stall(self) -> None:
        """Let every send from now on wait, as for a client that does not read any more."""
        self._stalled = True
