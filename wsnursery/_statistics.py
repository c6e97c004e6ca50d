"""The counters of a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebSocketStatistics:
    """A snapshot of a connection's counters, as anyio's streams have them."""

    messages_received: int
    """Messages received from the peer, in messages."""
    bytes_received: int
    """Their payload, in bytes."""
    messages_sent: int
    """Messages that the server has taken, in messages."""
    bytes_sent: int
    """Their payload, in bytes."""
    receive_buffer_used: int
    """Messages that wait to be read."""
    receive_buffer_used_bytes: int
    """Their payload, in bytes."""
    receive_buffer_high_water: int
    """The most messages that ever waited to be read."""
    send_buffer_used: int
    """Messages that wait to be sent, without the one in flight."""
    send_buffer_used_bytes: int
    """Their payload, in bytes."""
    send_buffer_high_water: int
    """The most messages that ever waited to be sent."""
    tasks_waiting_send: int
    """Calls of `send`, `flush` and the like that wait for the server."""
    round_trip_time: float | None
    """Seconds from the last answered ping to its answer; `None` over ASGI and before any answer."""
