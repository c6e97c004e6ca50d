"""Transfers the bytes of a connection to Redis on asyncio, in callbacks of the event loop.

A task that waits for a stream of anyio needs several turns of the loop, and two changes of what the
loop polls, for each read. For a single message, that takes longer than all the rest.
"""

from __future__ import annotations

import asyncio
import os
import socket

import anyio

from ._connection import RedisConnection
from ._stream_transfer import LAST_WORDS_SECONDS, READ_BYTES


class SocketTransfer:
    """Reads and writes until the connection is lost.

    It does not read ahead: a slow worker makes Redis wait, until Redis ends the connection.

    Args:
        fileno: A connected socket that does not block. It stays open: a duplicate is used, because
            the loop may know the socket already.
        connection: What is read and written.

    Raises:
        NotImplementedError: This event loop has no callbacks for sockets.
        OSError: The socket cannot be duplicated.
    """

    def __init__(self, fileno: int, connection: RedisConnection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(fileno=os.dup(fileno))
        self._rest = b""
        """What the writer of the loop writes next."""
        self._will_write = False
        """Whether `_write` is going to be called, or must not be called any more."""
        self._failed = anyio.Event()
        self._read_failure: Exception | None = None
        self._write_failure: Exception | None = None
        try:
            self._loop.add_reader(self._socket, self._read)
        except NotImplementedError:
            self._socket.close()
            raise
        connection.wake = self._wake
        self.tasks = (self._until_lost,)
        """What the caller runs until it raises why the connection is lost."""

    def close(self) -> None:
        """Stop. It may be called again."""
        if self._socket.fileno() >= 0:
            self._will_write = True  # so that nothing is written any more
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    async def _until_lost(self) -> None:
        await self._failed.wait()
        if self._read_failure is None:  # the reader may still find the reason
            self._failed = anyio.Event()
            with anyio.move_on_after(LAST_WORDS_SECONDS):
                await self._failed.wait()
        self.close()
        failure = self._read_failure or self._write_failure
        self._read_failure = self._write_failure = None
        assert failure is not None, "it has failed"
        try:
            raise failure
        finally:
            del failure  # it would form a cycle with this frame

    def _read(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as exc:
            self._end_reading(self._connection.reason_for_end(exc))
            return
        if not data:
            self._end_reading(self._connection.reason_for_end(None))
            return
        try:
            self._connection.receive(data)
        except Exception as exc:  # noqa: BLE001 - the task raises it
            self._end_reading(exc)

    def _end_reading(self, failure: Exception) -> None:
        self._loop.remove_reader(self._socket)
        self._read_failure = failure
        self._failed.set()

    def _wake(self) -> None:
        if not self._will_write:
            self._will_write = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        self._will_write = False
        if self._socket.fileno() >= 0:  # it may have been closed in the same turn
            self._send(self._connection.outgoing())

    def _write_rest(self) -> None:
        self._loop.remove_writer(self._socket)
        self._will_write = False
        self._send(self._rest)
        if not self._will_write:
            self._write()

    def _send(self, data: bytes) -> None:
        try:
            sent = self._socket.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._will_write = True  # so that nothing is written any more
            self._write_failure = self._connection.reason_for_end(exc)
            self._failed.set()
            return
        if sent < len(data):
            self._rest, self._will_write = data[sent:], True
            self._loop.add_writer(self._socket, self._write_rest)
