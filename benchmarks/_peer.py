"""The other end: a WebSocket client that does as little as possible, written as generators.

A script `yield`s where the server has to continue, and `_loops` resumes it when the server has
nothing left to do. It runs in the server's thread, and costs only the system calls.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from pathlib import Path

from wsnursery._doctor._client import handshake

from ._wire import SWITCHED

Steps = Generator[None, None, None]
"""A script. Every `yield` lets the server run."""


class Peer:
    """One connection to a server that listens on a Unix socket."""

    def __init__(self, address: Path) -> None:
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        self._buffer = bytearray(1 << 18)
        self._early = 0
        """Bytes that came during a write."""

    def open(self, path: str) -> Steps:
        """Connect, as soon as the server listens, and do the handshake."""
        while True:
            try:
                self._socket.connect(str(self._address))
                break
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                yield
        yield from self.write(handshake(path))
        answer = b""
        while b"\r\n\r\n" not in answer:
            yield
            answer += self._buffer[: self._read()]
        if not answer.startswith(SWITCHED):
            raise RuntimeError(f"The server refused {path}: {answer!r}")

    def write(self, data: bytes) -> Steps:
        """Write all of it, and read meanwhile: a server that cannot write may stop reading."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                self._early += self._read()
                yield

    def read(self, count: int) -> Steps:
        """Read this many bytes, of which the last have not arrived yet. More bytes are an error."""
        if self._early < count:
            yield
        yield from self.read_ready(count)

    def read_ready(self, count: int) -> Steps:
        """The same for bytes that may be there already: no event would come for them again."""
        while (count := count - self._arrived()) > 0:
            yield
        if count:
            raise RuntimeError(f"The server sent {-count} bytes too many")

    def read_some(self) -> Generator[None, None, int]:
        """Wait for bytes, and return their number."""
        while not self._early:
            yield
            self._early = self._read()
        return self._arrived()

    def _arrived(self) -> int:
        """The number of bytes that have arrived and are not counted yet."""
        early, self._early = self._early, 0
        return early or self._read()

    def _read(self) -> int:
        try:
            count = self._socket.recv_into(self._buffer)
        except BlockingIOError:
            return 0
        if not count:
            raise RuntimeError("The server closed the connection")
        return count

    def close(self) -> None:
        """Vanish."""
        self._socket.close()
