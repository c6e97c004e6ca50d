"""Listening sockets: their addresses, and what happens when no descriptor is left."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

from hypercorn.config import Sockets

from ._logs import logger

SELDOM_SECONDS = 10.0
"""Seconds between two log lines about missing descriptors."""

ACCEPT_BATCH = 1
"""Connections that asyncio accepts in one turn of its loop. asyncio uses the backlog for this
number. When no descriptor is left, it fails, logs and sets a timer that many times in each turn."""

OUT_OF_DESCRIPTORS = (
    "cannot accept connections: %s. Raise the limit of descriptors (`ulimit -n`, LimitNOFILE), "
    "or let fewer clients in"
)


class PatientListener(socket.socket):
    """A listening socket whose queue asyncio cannot shorten."""

    def __init__(self, sock: socket.socket, backlog: int) -> None:
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        # The new object is in blocking mode, but both event loops need a non-blocking socket.
        self.setblocking(False)
        self._backlog = backlog

    def listen(self, backlog: int = 0, /) -> None:
        """Listen with the backlog of the configuration, whatever value asyncio passes."""
        super().listen(max(backlog, self._backlog))


def make_patient(sockets: Sockets, backlog: int) -> None:
    """Give asyncio a short batch, and the sockets a long queue."""
    for group in (sockets.secure_sockets, sockets.insecure_sockets):
        group[:] = [PatientListener(sock, backlog) for sock in group]


class Exhaustion(logging.Filter):
    """Logs at most every ten seconds that no descriptor is left.

    It is also a log filter, because trio logs the same ten times per second.
    """

    def __init__(self) -> None:
        super().__init__()
        self._quiet_until = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Let all records through, except those of trio about a failed accept."""
        if "accept returned" not in str(record.msg):
            return True
        # trio offers no other way to notice a failed accept: `serve_listeners` logs it and sleeps
        # for 100 ms.
        error = record.exc_info[1] if record.exc_info else None
        self.report(error)
        return False

    def report(self, error: object) -> None:
        """Log it, unless that was done less than ten seconds ago."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + SELDOM_SECONDS
            logger.error(OUT_OF_DESCRIPTORS, error)


def addresses(sockets: Sockets) -> Iterator[str]:
    """The addresses of the sockets, in the form that Hypercorn uses."""
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
