"""The status of a `WebSocket`: the state, the close code, the counters."""

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
    """The attributes of `WebSocket` that stay readable after the block."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def _connection(self) -> Connection: ...

    @property
    def id(self) -> UUID:
        """A random UUID (version 4) of this connection, for logs. Hooks receive the same one."""
        return self._connection.id

    @property
    def state(self) -> WebSocketState:
        """The state of the connection.

        ``"connecting"`` and ``"requested"`` before `accept`, then ``"accepting"`` and ``"open"``;
        ``"closing"`` or ``"rejected"`` after your own close, and ``"closed"`` at the end.
        """
        return self._connection.lifecycle.states.state.value

    @property
    def close_code(self) -> int | None:
        """The first close code, from either side.

        `None` while open, or if the server gave none. Hypercorn reports 1006 for every client.
        """
        return self._connection.lifecycle.states.code

    @property
    def close_reason(self) -> str:
        """The first close reason, from either side. It may be text from the peer."""
        return self._connection.lifecycle.states.reason

    def statistics(self) -> WebSocketStatistics:
        """Return a snapshot of the counters. Not a checkpoint."""
        return self._connection.statistics()
