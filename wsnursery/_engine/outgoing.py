"""The outgoing side: who is inside the server's ``send``, a caller itself or the sender task.

One raw send runs at a time, the close included, and none is cancelled because a caller was: a frame
is never torn. A caller sends for itself where that cannot happen; `OutgoingSide.send` decides. The
sender task does it for everything else: what is queued, answers to the handshake, the close.
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
    """Hands messages to the server, in order.

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
        """Hand a message to the server and wait until it has been taken."""
        checked, size = await self._sized(message)
        self._lifecycle.check_place()
        await self._backend.checkpoint_if_cancelled()
        await self._send_through_task(checked, size)

    async def _sized(self, message: Any) -> tuple[Message, int]:
        """Check a message and measure it; a call that refuses lets others run, too."""
        try:
            return sized(message)
        except (TypeError, ValueError):
            self._lifecycle.check_place()
            await self._backend.checkpoint()
            raise

    async def _send_through_task(self, message: Message, size: int) -> None:
        lifecycle = self._lifecycle
        if lifecycle.over or not lifecycle.states.allows(Transition.MESSAGE_OUT):
            # A loop of sends to a dead peer must not freeze the process.
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
        """Queue a message if there is room for it. Return whether there was.

        Args:
            message: The message; the caller knows that it may be sent now.
            size: Its payload, in bytes. A room measures it once for all its members.
            tag: What the caller will find it by in the outbox.
        """
        if not self.outbox.has_room(size):
            return False
        self._queue(SendTicket(message, size, tag))
        return True

    def deliver(self, message: Message, size: int, tag: object, shared: SharedSender) -> bool:
        """As `offer`, for a message to many connections: no sender task, if possible.

        Args:
            message: As for `offer`, and so are the size and the tag.
            size: As above.
            tag: As above.
            shared: Sends to all of them, where the caller cannot do so itself.
        """
        return self.offer(message, size, tag)

    async def flush(self) -> None:
        """Wait until everything queued before this call has been taken."""
        lifecycle = self._lifecycle
        lifecycle.check_place()
        await self._backend.checkpoint_if_cancelled()
        if lifecycle.over or not lifecycle.states.allows(Transition.MESSAGE_OUT):
            await self._backend.checkpoint()
            lifecycle.check_can_send()
        await self._delivered(self._queue(SendTicket(None)))

    async def accept(self, event: Accept) -> None:
        """Wait until the server has taken the accept. Cancelled before it began, it is undone."""
        ticket = self._queue(SendTicket(event))
        try:
            await self._delivered(ticket)
        finally:
            if ticket.withdrawn:
                self._lifecycle.states.apply(Transition.WITHDRAWN)

    async def reject(self, event: Reject) -> None:
        """Wait until the server has taken the denial. Cancelled, it goes out all the same."""
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
            # Take it out of the ticket: its traceback leads back to it.
            error, ticket.error = ticket.error, None
            try:
                raise error
            finally:
                del error

    async def _settled(self, ticket: SendTicket) -> None:
        """Wait until it is known what became of an event. Cancelled, the event is withdrawn."""
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
        """Take back that the loss notified the caller: the exception does, in the right task."""
        assert ticket.caller is not None  # its call has waited
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
        """As `Listener.on_closing`: the close goes behind what is queued."""
        self._wire.clear = False
        if close is not None:
            self._queue(SendTicket(close))

    def on_end(self, end: End, close: Close | None) -> None:
        """As `Listener.on_end`: drop the buffer; what is queued is lost."""
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
        """Give up the messages that are queued; what is in flight and a close may go out."""
        self._lose(self.outbox.drop_messages())

    def _lose(self, tickets: list[SendTicket]) -> None:
        """Count what is lost; the calls that wait for it are notified."""
        lifecycle = self._lifecycle
        messages = [ticket for ticket in tickets if ticket.is_message]
        self._observers.dropped("send", len(messages))
        lifecycle.lose(len(messages), unnoticed=any(ticket.caller is None for ticket in messages))
        for ticket in tickets:
            if ticket.caller is not None:
                lifecycle.tasks.notify(ticket.caller)
            ticket.lose()

    def stop(self) -> None:
        """Cancel the sender task; the raw send under way too, if the server lets it."""
        self.sender.stop()
        self._lose(self.outbox.drop())

    @property
    def waiting_calls(self) -> int:
        """How many calls wait for something that is queued or in flight."""
        in_flight = self.sender.in_flight
        return self.outbox.waiting_calls + (in_flight is not None and in_flight.waiter is not None)

    def release(self) -> None:
        """The block has been left."""
        self.sender.release()
