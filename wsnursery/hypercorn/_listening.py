"""Listening sockets: what they listen on, and what happens when no descriptor is left."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

from hypercorn.config import Sockets

from ._logs import logger

SELDOM_SECONDS = 10.0
"""Seconds between two lines of the log that say that no descriptor is left."""

ACCEPT_BATCH = 1
"""Connections that asyncio accepts in one turn of its loop. It takes the backlog for that number,
and when no descriptor is left it fails, logs and sets a timer so many times in each turn."""

OUT_OF_DESCRIPTORS = (
    "cannot accept connections: %s. Raise the limit of descriptors (`ulimit -n`, LimitNOFILE), "
    "or let fewer clients in"
)


class PatientListener(socket.socket):
    """A listening socket whose queue cannot be made shorter."""

    def __init__(self, sock: socket.socket, backlog: int) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self.setblocking(False)
        self._backlog = backlog

    def listen(self, backlog: int = 0, /) -> None:
        """Listen with the backlog of the configuration, whatever asyncio takes for it."""
        super().listen(max(backlog, self._backlog))


def make_patient(sockets: Sockets, backlog: int) -> None:
    """Let asyncio have a short batch and the sockets a long queue."""
    for group in (sockets.secure_sockets, sockets.insecure_sockets):
        group[:] = [PatientListener(sock, backlog) for sock in group]


class Exhaustion(logging.Filter):
    """Says at most every ten seconds that no descriptor is left.

    As a filter it does so for what trio logs ten times in a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._quiet_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything through but what trio says about a failed accept."""
        if "accept returned" not in str(record.msg):
            return True
        error = record.exc_info[1] if record.exc_info else None
        self.report(error)
        return False

    def report(self, error: object) -> None:
        """Log it, if that has not been done just now."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + SELDOM_SECONDS
            logger.error(OUT_OF_DESCRIPTORS, error)


def addresses(sockets: Sockets) -> Iterator[str]:
    """Where they listen, in the form that Hypercorn uses."""
    for sock in sockets.secure_sockets:
        yield f"https://{_address(sock)}"
    for sock in sockets.insecure_sockets:
        yield f"http://{_address(sock)}"


def _address(sock: socket.socket) -> str:
    name: Any = sock.getsockname()
    if not isinstance(name, str):
        host, port = name[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"unix:{name}"
