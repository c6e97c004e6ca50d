"""What a `WebSocket` tells of its connection: the state, the close code, the counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from uuid import UUID

from wsnursery._statistics import WebSocketStatistics

if TYPE_CHECKING:
    from .connection import Connection

WebSocketState = Literal[
    "connecting", "requested", "accepting", "open", "closing", "rejected", "closed"
]
"""The states of a connection, see `Status.state`."""


class Status:
    """The part of `WebSocket` that stays readable after the block."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def _connection(self) -> Connection: ...

    @property
    def id(self) -> UUID:
        """A random UUID (version 4) for this connection, for logs; hooks are given the same."""
        return self._connection.id

    @property
    def state(self) -> WebSocketState:
        """Where the connection is.

        ``"connecting"`` and ``"requested"`` before `accept`, then ``"accepting"`` and ``"open"``;
        ``"closing"`` or ``"rejected"`` after your own close, and ``"closed"`` at the end.
        """
        return self._connection.lifecycle.states.state.value

    @property
    def close_code(self) -> int | None:
        """The close code that was said first, by either side.

        `None` while open, or if the server gave none. Hypercorn says 1006 whatever the client sent.
        """
        return self._connection.lifecycle.states.code

    @property
    def close_reason(self) -> str:
        """The close reason that was said first, by either side; it may be the peer's text."""
        return self._connection.lifecycle.states.reason

    def statistics(self) -> WebSocketStatistics:
        """A snapshot of the counters. Cheap; not a checkpoint."""
        return self._connection.statistics()
