"""Transfers the bytes of a connection to Redis over any stream of anyio, in two tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from ._connection import RedisConnection

if TYPE_CHECKING:
    from anyio.abc import ByteStream

READ_BYTES: Final = 64 * 1024
"""Bytes per read. The parser holds the part of an incomplete message in addition to this."""

LAST_WORDS_SECONDS: Final = 1.0
"""Seconds for reading what Redis has sent before it closed. It has arrived by then.

Redis may send the reason before it closes, for instance that it has too many clients. A command
that is sent after that cannot be written, but the reason can still be read."""


class StreamTransfer:
    """Reads and writes until the connection is lost.

    It does not read ahead: a slow worker makes Redis wait, until Redis ends the connection.

    Args:
        stream: The stream. The caller closes it.
        connection: What is read and written.
    """

    def __init__(self, stream: ByteStream, connection: RedisConnection) -> None:
        self._stream = stream
        self._connection = connection
        self._has_outgoing = anyio.Event()
        connection.wake = self._wake
        self.tasks = (self._read, self._write)
        """What the caller runs until one of them raises why the connection is lost."""

    def close(self) -> None:
        """Do nothing, because the caller closes the stream."""

    def _wake(self) -> None:
        self._has_outgoing.set()

    async def _read(self) -> None:
        connection = self._connection
        try:
            while True:
                connection.receive(await self._stream.receive(READ_BYTES))
        except anyio.EndOfStream:
            raise connection.reason_for_end(None) from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            raise connection.reason_for_end(_cause(exc)) from exc

    async def _write(self) -> None:
        try:
            while True:
                self._has_outgoing = anyio.Event()
                if data := self._connection.outgoing():
                    await self._stream.send(data)
                else:
                    await self._has_outgoing.wait()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as exc:
            await anyio.sleep(LAST_WORDS_SECONDS)
            raise self._connection.reason_for_end(_cause(exc)) from exc


def _cause(exc: Exception) -> Exception:
    """Return the operating system's error, which says more than anyio's own."""
    return exc.__cause__ if isinstance(exc.__cause__, Exception) else exc
