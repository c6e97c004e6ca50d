"""The bytes on the wire, made once and sent many times."""

from __future__ import annotations

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, TextMessage

SWITCHED = b"HTTP/1.1 101 "
"""The beginning of the answer to an accepted handshake."""


def client_frame(message: str | bytes) -> bytes:
    """A message as a client sends it: masked."""
    return _frame(ConnectionType.CLIENT, message)


def server_frame(message: str | bytes) -> bytes:
    """A message as a server sends it."""
    return _frame(ConnectionType.SERVER, message)


def _frame(side: ConnectionType, message: str | bytes) -> bytes:
    connection = Connection(side)
    if isinstance(message, str):
        return connection.send(TextMessage(data=message))
    return connection.send(BytesMessage(data=message))
