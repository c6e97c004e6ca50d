"""Chooses what transfers the bytes of a connection to Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.abc import SocketAttribute, SocketStream

from wsnursery._backend.running import running_on_trio

from ._connection import RedisConnection
from ._socket_transfer import SocketTransfer
from ._stream_transfer import StreamTransfer

if TYPE_CHECKING:
    from anyio.abc import ByteStream


def transfer_over(
    stream: ByteStream, connection: RedisConnection
) -> StreamTransfer | SocketTransfer:
    """Return what transfers the bytes of a connection over a stream."""
    # A TLS stream is not a `SocketStream`, although it has the same attribute.
    if isinstance(stream, SocketStream) and not running_on_trio():
        try:
            raw = stream.extra_attributes[SocketAttribute.raw_socket]()
            return SocketTransfer(raw.fileno(), connection)
        except (NotImplementedError, OSError):
            pass  # on Windows, where sockets have no descriptors and the default loop no callbacks
    return StreamTransfer(stream, connection)
