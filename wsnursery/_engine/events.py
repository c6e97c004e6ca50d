"""The events that a transport delivers, and those that it sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Connect:
    """From the server: a client asks for a WebSocket."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """From the server: the connection is over, and everything the peer sent has been delivered."""

    code: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Accept:
    """To the server: complete the handshake."""

    subprotocol: str | None
    headers: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """To the server: answer the handshake with an HTTP response."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """To the server: close the connection, or deny a handshake that was not accepted (403)."""

    code: int
    reason: str


Incoming: TypeAlias = Connect | Disconnect | str | bytes
"""What a transport delivers. A message is an event by itself, to save an object per message."""

Outgoing: TypeAlias = Accept | Reject | Close | str | bytes
"""What a transport sends."""
