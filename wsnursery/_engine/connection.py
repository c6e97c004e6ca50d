"""One connection: its parts, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final
from uuid import UUID

import anyio

from wsnursery._backend.backend import Backend, current_backend
from wsnursery._options import Options
from wsnursery._statistics import WebSocketStatistics

from .connection_log import id_of
from .handshaking import Handshaking
from .inbox import Inbox
from .incoming import IncomingSide
from .lifecycle import Lifecycle
from .meaning import Interpreter, meaningless
from .observers import UNOBSERVED, Observers
from .outgoing import OutgoingSide
from .tasks import UserTasks
from .transport import Transport


@dataclass(frozen=True, slots=True)
class Sides:
    """How messages are received and sent: by the receiver and the sender task, or in place."""

    incoming: Callable[..., IncomingSide] = IncomingSide
    outgoing: Callable[..., OutgoingSide] = OutgoingSide


THROUGH_TASKS = Sides()
"""Works with every server."""


@final
class Connection:
    """One WebSocket from its handshake to its end.

    Args:
        transport: The server.
        options: The limits.
        sides: How messages are received and sent.
    """

    __slots__ = (
        "__weakref__",
        "backend",
        "handshaking",
        "incoming",
        "interpret",
        "lifecycle",
        "observers",
        "options",
        "outcome",
        "outgoing",
        "tasks",
        "token",
        "transport",
    )

    def __init__(
        self,
        transport: Transport,
        options: Options,
        sides: Sides,
    ) -> None:
        self.transport: Transport = transport
        self.options: Options = options
        self.token: object = object()
        """Identifies this connection in exceptions and contexts without keeping it alive."""
        self.backend: Backend = current_backend()
        backend = self.backend
        self.observers: Observers = (
            Observers(options.hooks, transport.scope, backend.now) if options.hooks else UNOBSERVED
        )
        inbox = Inbox(options.receive_buffer, options.receive_buffer_bytes)
        self.tasks: UserTasks = UserTasks(
            self.token, transport.scope, backend, self.observers, inbox.is_unread
        )
        self.lifecycle: Lifecycle = Lifecycle(self.tasks, options, self.observers, backend)
        lifecycle = self.lifecycle
        self.outgoing: OutgoingSide = sides.outgoing(
            lifecycle, transport, options, self.observers, backend
        )
        self.incoming: IncomingSide = sides.incoming(
            lifecycle, transport, options, self.observers, backend, inbox
        )
        self.handshaking: Handshaking = Handshaking(lifecycle, self.outgoing, options, backend)
        lifecycle.listeners = (self.outgoing, self.incoming, self.handshaking)
        self.outcome: BaseException | None = None
        """What the block must raise, once it has been left."""
        self.interpret: Interpreter = meaningless

    @property
    def id(self) -> UUID:
        """A random identifier, made at the first access, because most connections never need it."""
        return id_of(self.transport.scope)

    def statistics(self) -> WebSocketStatistics:
        """A snapshot of the counters."""
        incoming, outgoing = self.incoming, self.outgoing
        return WebSocketStatistics(
            messages_received=incoming.arrivals.messages,
            bytes_received=incoming.arrivals.bytes,
            messages_sent=outgoing.sender.messages,
            bytes_sent=outgoing.sender.bytes,
            receive_buffer_used=len(incoming.inbox),
            receive_buffer_used_bytes=incoming.inbox.bytes,
            receive_buffer_high_water=incoming.inbox.high_water,
            send_buffer_used=len(outgoing.outbox),
            send_buffer_used_bytes=outgoing.outbox.bytes,
            send_buffer_high_water=outgoing.outbox.high_water,
            tasks_waiting_send=outgoing.waiting_calls,
            round_trip_time=self.transport.round_trip_time,
        )

    def start(self) -> None:
        """Start the tasks and timers that run from the beginning."""
        self.observers.opened()
        self.incoming.start()

    def stop(self) -> None:
        """Cancel the tasks of the connection that still run."""
        lifecycle = self.lifecycle
        lifecycle.leave()
        lifecycle.abandon()
        self.incoming.receiver.stop()
        self.outgoing.stop()

    async def stopped(self) -> None:
        """Wait until those tasks have ended. It can be called again after a native cancellation."""
        with anyio.CancelScope(shield=True):
            await self.outgoing.sender.stopped()
            await self.incoming.receiver.stopped()

    def release(self) -> None:
        """Release everything but the facts, after the block."""
        states = self.lifecycle.states
        self.incoming.release()
        self.outgoing.release()
        self.observers.closed(states.code, states.reason, self.outcome, self.statistics)
        self.lifecycle.release()
        self.outcome = None
