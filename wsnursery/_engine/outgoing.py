"""The outgoing side: which task is inside the server's ``send``, a caller or the sender task.

One raw send runs at a time, including the close. A raw send is never cancelled because its caller
was, so a partial frame is never sent. Where that is guaranteed, a caller sends in place;
`OutgoingSide.send` decides. The sender task sends everything else: queued messages, answers to the
handshake, the close.
"""

from __future__ import annotations

from typing import Any

import anyio

from wsnursery._backend.backend import Backend
from wsnursery._options import Options
from wsnursery._types import Message

from .events import Accept, Close, Reject
from .lifecycle import End, Lifecycle
from .observers import Observers
from .outbox import Outbox, SendTicket
from .outcome import Raiser
from .payload import sized
from .sender import Sender
from .shared_sender import SharedSender
from .states import Transition
from .transport import Transport
from .user_task import UserTask
from .wire import BUDGET


class OutgoingSide:
    """Gives messages to the server, in order.

    Args:
        lifecycle: Knows whether messages may be sent.
        transport: The server, for the sender task.
        options: The limits.
        observers: Notified of messages.
        backend: The event loop.
    """

    __slots__ = (
        "_backend",
        "_lifecycle",
        "_observers",
        "_wire",
        "outbox",
        "sender",
    )

    def __init__(
        self,
        lifecycle: Lifecycle,
        transport: Transport,
        options: Options,
        observers: Observers,
        backend: Backend,
    ) -> None:
        self._lifecycle = lifecycle
        self._wire = lifecycle.wire
        self._observers = observers
        self._backend = backend
        self.outbox: Outbox = Outbox(options.send_buffer, options.send_buffer_bytes)
        self.sender: Sender = Sender(self.outbox, lifecycle, transport, options, observers, backend)

    # -------------------------------------------------------------------------------- a message

    async def send(self, message: Any) -> None:
        """Give a message to the server, and wait until it has been taken."""
        checked, size = await self._sized(message)
        self._lifecycle.check_place()
        await self._backend.checkpoint_if_cancelled()
        await self._send_through_task(checked, size)

    async def _sized(self, message: Any) -> tuple[Message, int]:
        """Check a message and return its size. A refused call is also a checkpoint."""
        try:
            return sized(message)
        except (TypeError, ValueError):
            self._lifecycle.check_place()
            await self._backend.checkpoint()
            raise

    async def _send_through_task(self, message: Message, size: int) -> None:
        lifecycle = self._lifecycle
        if lifecycle.over or not lifecycle.states.allows(Transition.MESSAGE_OUT):
            # Otherwise a loop of sends to a dead peer could freeze the process.
            await self._backend.checkpoint()
            lifecycle.check_can_send()
        await self._delivered(self._queue(SendTicket(message, size)))

    # ------------------------------------------------------------------------------- other calls

    def send_nowait(self, message: Message, size: int) -> None:
        """Queue a message."""
        self._lifecycle.check_place()
        self._lifecycle.check_can_send()
        if not self.offer(message, size):
            self._observers.buffer_full("send")
            raise anyio.WouldBlock(
                "the send buffer is full: use `await ws.send(...)`, or treat the peer as too slow"
            )

    def offer(self, message: Message, size: int, tag: object = None) -> bool:
        """Queue a message if there is room. Return whether it was queued.

        Args:
            message: The message. The caller has checked that it may be sent now.
            size: Its payload, in bytes. A room measures it once for all its members.
            tag: The caller finds the message in the outbox by this.
        """
        if not self.outbox.has_room(size):
            return False
        self._queue(SendTicket(message, size, tag))
        return True

    def deliver(self, message: Message, size: int, tag: object, shared: SharedSender) -> bool:
        """As `offer`, for a message to many connections. Avoids a sender task where it can.

        Args:
            message: As for `offer`.
            size: As for `offer`.
            tag: As for `offer`.
            shared: Sends to all of them where the caller cannot send in place.
        """
        return self.offer(message, size, tag)

    async def flush(self) -> None:
        """Wait until the server has taken everything that was queued before this call."""
        lifecycle = self._lifecycle
        lifecycle.check_place()
        await self._backend.checkpoint_if_cancelled()
        if lifecycle.over or not lifecycle.states.allows(Transition.MESSAGE_OUT):
            await self._backend.checkpoint()
            lifecycle.check_can_send()
        await self._delivered(self._queue(SendTicket(None)))

    async def accept(self, event: Accept) -> None:
        """Wait until the server has taken the accept. If cancelled before it began, withdraw it."""
        ticket = self._queue(SendTicket(event))
        try:
            await self._delivered(ticket)
        finally:
            if ticket.withdrawn:
                self._lifecycle.states.apply(Transition.WITHDRAWN)

    async def reject(self, event: Reject) -> None:
        """Wait until the server has taken the denial. If cancelled, it is sent anyway."""
        await self._delivered(self._queue(SendTicket(event)))

    async def close_taken(self) -> None:
        """Wait until the server has taken the close, or the connection has ended without it."""
        await self._backend.checkpoint()
        if not self.sender.is_stopped:
            await self._settled(self._queue(SendTicket(None)))

    # ------------------------------------------------------------------------------- the queue

    def _queue(self, ticket: SendTicket) -> SendTicket:
        self.outbox.put(ticket)
        self._wire.clear = False
        self.sender.wake()
        return ticket

    async def _delivered(self, ticket: SendTicket) -> None:
        """Wait until the server has taken an event, or raise the error that prevented delivery."""
        await self._settled(ticket)
        if ticket.lost:
            self._retract(ticket)
            raise self._lifecycle.disconnected()
        if ticket.error is not None:
            # Remove it from the ticket, because its traceback leads back to the ticket.
            error, ticket.error = ticket.error, None
            try:
                raise error
            finally:
                del error

    async def _settled(self, ticket: SendTicket) -> None:
        """Wait until the outcome of an event is known. If cancelled, withdraw the event."""
        caller = ticket.caller = self._lifecycle.tasks.current()
        ticket.waiter = self._backend.wakeup()
        self._wire.budget = BUDGET
        try:
            while not ticket.done:
                await ticket.waiter.wait()
        except BaseException:
            self._abandon(ticket, caller)
            raise

    @staticmethod
    def _retract(ticket: SendTicket) -> None:
        """Retract the notification of the loss, because the exception notifies the right task."""
        assert ticket.caller is not None  # because its call has waited
        ticket.caller.retract()

    def _abandon(self, ticket: SendTicket, caller: UserTask) -> None:
        """The call that waits for it was cancelled."""
        ticket.waiter = ticket.caller = None
        if not ticket.done:
            if ticket is not self.sender.in_flight:
                self.outbox.withdraw(ticket)
        elif ticket.lost:
            self._lifecycle.tasks.retract(caller)
        elif ticket.error is not None:
            self._lifecycle.fail(Raiser.CONNECTION, ticket.error)

    # --------------------------------------------------------------- the close, the end, the exit

    def on_accepted(self) -> None:
        """As `Listener.on_accepted`."""
        self.sender.note_clear()

    def on_closing(self, close: Close | None) -> None:
        """As `Listener.on_closing`: the close is sent after the queued messages."""
        self._wire.clear = False
        if close is not None:
            self._queue(SendTicket(close))

    def on_end(self, end: End, close: Close | None) -> None:
        """As `Listener.on_end`: drop the outbox; the queued messages are lost."""
        self._wire.clear = False
        in_flight = self.sender.in_flight
        is_closing = in_flight is not None and isinstance(in_flight.event, Close | Reject)
        if close is None and is_closing and not end.abnormal:
            return
        dropped = self.outbox.drop()
        if in_flight is not None and not in_flight.done:
            dropped.insert(0, in_flight)
        self._lose(dropped)
        if close is not None:
            self._queue(SendTicket(close))
            return
        self.sender.stop()

    def drop_messages(self) -> None:
        """Drop the queued messages. The event in flight and a close may still be sent."""
        self._lose(self.outbox.drop_messages())

    def _lose(self, tickets: list[SendTicket]) -> None:
        """Count the lost messages, and notify the calls that wait for them."""
        lifecycle = self._lifecycle
        messages = [ticket for ticket in tickets if ticket.is_message]
        self._observers.dropped("send", len(messages))
        lifecycle.lose(len(messages), unnoticed=any(ticket.caller is None for ticket in messages))
        for ticket in tickets:
            if ticket.caller is not None:
                lifecycle.tasks.notify(ticket.caller)
            ticket.lose()

    def stop(self) -> None:
        """Cancel the sender task, and the raw send in flight if the server allows it."""
        self.sender.stop()
        self._lose(self.outbox.drop())

    @property
    def waiting_calls(self) -> int:
        """The number of calls that wait for an event that is queued or in flight."""
        in_flight = self.sender.in_flight
        return self.outbox.waiting_calls + (in_flight is not None and in_flight.waiter is not None)

    def release(self) -> None:
        """The block has been left."""
        self.sender.release()
