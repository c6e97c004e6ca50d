"""The interface between the engine and the server or library that carries the WebSocket."""

from __future__ import annotations

from typing import Protocol

from wsnursery._types import Scope

from .events import Incoming, Outgoing


class Transport(Protocol):
    """What the engine needs from a server or a WebSocket library.

    One task at a time calls ``receive``, and one at a time calls ``send``. Both may be cancelled,
    but only together with the connection: after a cancelled call the engine makes no other call of
    that kind. ``send(Close)`` may still follow a cancelled ``receive``.
    """

    scope: Scope
    """The handshake: path, headers, offered subprotocols. An ASGI scope, or of the same form."""

    drains: bool
    """Whether ``receive`` should be called for a moment after the end, so that the server can
    deliver what is stuck in its queue, and end its own tasks."""

    receive_blocks_close: bool
    """Whether a pending ``receive`` must be cancelled before a close can be sent (granian)."""

    round_trip_time: float | None
    """Seconds that the last ping took to be answered, where the transport sends pings."""

    async def receive(self) -> Incoming:
        """Return the next event.

        Raises:
            RemoteProtocolError: The server delivered an event that is not valid.
            OSError: The connection is broken.
            Exception: Any other exception is an error of the server, or of middleware.
        """
        ...

    async def send(self, event: Outgoing) -> None:
        """Give one event to the server, and return when the server has taken it."""
        ...

    def says_gone(self, exc: Exception) -> bool:
        """Whether an exception of ``receive`` or ``send`` means that the peer is gone."""
        ...

    def abort(self) -> bool:
        """Drop the connection, so that a raw call under way returns. Return whether it could."""
        ...
