"""The outgoing side: who is inside the server's ``send``, a caller itself or the sender task.

One raw send runs at a time, the close included, and none is cancelled because a caller was: a frame
is never torn. A caller sends for itself where that cannot happen; `OutgoingSide.send` decides. The
sender task does it for everything else: what is queued, answers to the handshake, the close.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

import anyio

from wsnursery._backend.backend import Backend
from wsnursery._codes import CloseCode
from wsnursery._options import Options
from wsnursery._types import Message

from .events import Accept, Close, Outgoing, Reject
from .lifecycle import End, Lifecycle
from .observers import Observers
from .outbox import Outbox, SendTicket
from .outcome import Raiser
from .payload import sized
from .service import ServiceTask
from .states import State, Transition
from .transport import Transport
from .user_task import UserTask
from .wire import BUDGET, CHECKPOINTS_OF_DOUBT

if TYPE_CHECKING:
    from wsnursery._backend.timer import Alarm
    from wsnursery._backend.wakeup import Wakeup

logger = logging.getLogger("wsnursery")

CHECKPOINTS_BEFORE_ANSWER = 5
"""Checkpoints between the server's ``connect`` and our answer to it.

Hypercorn's trio worker dies when data that came in the same packet as the handshake meets an answer
that is already under way; 3 checkpoints let it finish reading first, 5 leave a margin."""

HANDSHAKE = {State.ACCEPTING, State.REJECTED}
"""The states in which what is sent answers the handshake."""

LINGER_LOOKS = 40
"""Looks of the timer without anything to send, after which the sender task ends: 1 s. Starting it
for every message would cost more than the message."""

STUCK_SECONDS = 1.0
"""Seconds after which a raw send that was given up and does not come back is logged, or the
connection dropped, where that frees it."""


class OutgoingSide:
    """Hands messages to the server, in order.

    Args:
        lifecycle: Is told of a broken connection.
        transport: The server, for the sender task.
        options: The limits.
        observers: Are told of messages.
        backend: The event loop.
    """

    __slots__ = (
        "_backend",
        "_begun",
        "_idle_looks",
        "_in_flight",
        "_late",
        "_late_alarm",
        "_lifecycle",
        "_observers",
        "_options",
        "_queued",
        "_service",
        "_stopped",
        "_transport",
        "_watched",
        "_wire",
        "bytes",
        "gave_up",
        "messages",
        "outbox",
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
        self._transport = transport
        self._options = options
        self._observers = observers
        self._backend = backend
        self.outbox: Outbox = Outbox(options.send_buffer, options.send_buffer_bytes)
        self.messages: int = 0
        self.bytes: int = 0
        self._in_flight: SendTicket | None = None
        """What the sender task has given to the server, which has not taken it yet."""
        self._begun: Awaitable[None] | None = None
        """The rest of a raw send that a caller has begun: the sender task finishes it."""
        self._service: ServiceTask | None = None
        """The sender task, while there is one."""
        self._idle_looks = 0
        self.gave_up: bool = False
        """What is queued is not going to be sent."""
        self._late = 0.0
        """When the raw send under way will have taken too long."""
        self._late_alarm: Alarm | None = None
        self._watched = False
        """The timer looks after a raw send that a caller has begun in place."""
        self._queued: Wakeup | None = None
        """Wakes the sender task."""
        self._stopped: Wakeup | None = None
        """Wakes the block, which waits for the raw send under way."""

    # -------------------------------------------------------------------------------- a message

    async def send(self, message: Any) -> None:
        """Hand a message to the server and wait until it has been taken."""
        checked, size = await self._sized(message)
        await self._backend.checkpoint_if_cancelled()
        await self._send_through_task(checked, size)

    async def _sized(self, message: Any) -> tuple[Message, int]:
        """Check a message and measure it; a call that refuses lets others run, too."""
        try:
            return sized(message)
        except (TypeError, ValueError):
            await self._backend.checkpoint()
            raise

    async def _send_through_task(self, message: Message, size: int) -> None:
        self._check_place()
        lifecycle = self._lifecycle
        if lifecycle.over or not lifecycle.states.allows(Transition.MESSAGE_OUT):
            # A loop of sends to a dead peer must not freeze the process.
            await self._backend.checkpoint()
            lifecycle.check_can_send()
        await self._delivered(self._queue(SendTicket(message, size)))

    # ------------------------------------------------------------------------------- other calls

    def send_nowait(self, message: Message, size: int) -> None:
        """Queue a message."""
        self._check_place()
        self._lifecycle.check_can_send()
        if not self.offer(message, size):
            self._observers.buffer_full("send")
            raise anyio.WouldBlock(
                "the send buffer is full: use `await ws.send(...)`, or treat the peer as too slow"
            )

    def offer(self, message: Message, size: int, tag: object = None) -> bool:
        """Queue a message if there is room for it, and say whether there was.

        Args:
            message: The message; the caller knows that it may be sent now.
            size: Its payload, in bytes. A room measures it once for all its members.
            tag: What the caller will find it by in the outbox.
        """
        if not self.outbox.has_room(size):
            return False
        self._queue(SendTicket(message, size, tag))
        return True

    def begin(self, message: Message, size: int) -> bool:
        """Take the first step of sending a message, and say whether that was possible."""
        return False

    async def flush(self) -> None:
        """Wait until everything queued before this call has been taken."""
        await self._backend.checkpoint_if_cancelled()
        self._check_place()
        lifecycle = self._lifecycle
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
        if not self.gave_up:
            await self._settled(self._queue(SendTicket(None)))

    def _check_place(self) -> None:
        """Refuse a call from another thread or event loop, before anything is queued."""
        if not self._backend.is_here():
            raise RuntimeError(
                "a WebSocket must be used in the event loop that it was opened in: from another "
                "thread call anyio.from_thread.run(ws.send, message), or send to a queue that a "
                "task of that loop reads"
            )

    # ------------------------------------------------------------------------------- the queue

    def _queue(self, ticket: SendTicket) -> SendTicket:
        self.outbox.put(ticket)
        self._wire.clear = False
        self._wake_sender()
        return ticket

    def _wake_sender(self) -> None:
        """Something is to be sent."""
        if self._service is not None:
            if self._queued is not None:
                self._queued.wake()
        elif not self.gave_up and (self._begun is not None or not self._wire.sending):
            # While a raw send in place is under way, its end goes on with the queue.
            self._service = ServiceTask(
                self._backend, "wsnursery sender", self._send_all, self._sender_ended
            )

    async def _delivered(self, ticket: SendTicket) -> None:
        """Wait until the server has taken an event, or raise the error that prevented delivery."""
        await self._settled(ticket)
        if ticket.lost:
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
        if ticket.done:
            return
        caller = ticket.caller = self._lifecycle.tasks.current()
        ticket.waiter = self._backend.wakeup()
        self._wire.budget = BUDGET
        try:
            while not ticket.done:
                await ticket.waiter.wait()
        except BaseException:
            self._abandon(ticket, caller)
            raise

    def _abandon(self, ticket: SendTicket, caller: UserTask) -> None:
        """The call that waits for it was cancelled."""
        ticket.waiter = ticket.caller = None
        if not ticket.done:
            if ticket is not self._in_flight:
                self.outbox.withdraw(ticket)
        elif ticket.lost:
            self._lifecycle.tasks.retract(caller)
        elif ticket.error is not None:
            self._lifecycle.fail(Raiser.CONNECTION, ticket.error)

    # --------------------------------------------------------------------------- the sender task

    async def _send_all(self) -> None:
        """Send what is queued, and wait a while for more."""
        while True:
            ticket = None
            if self._begun is not None:
                begun, self._begun = self._begun, None
                assert self._in_flight is not None
                await self._transmit(self._in_flight, begun)
                continue
            if not self._wire.held and not self._wire.sending:
                ticket = self.outbox.take()
            if ticket is None:
                if not self._lingers:
                    return
                await self._rest()
                continue
            event = ticket.event
            self._in_flight = ticket
            try:
                if event is None or not (ticket.is_message or await self._prepare(event)):
                    ticket.finish()
                else:
                    await self._transmit(ticket, self._transport.send(event))
            finally:
                self._in_flight = None

    @property
    def _lingers(self) -> bool:
        """Whether more may come soon: on a server whose send is known, callers send themselves."""
        if self._wire.held or self._wire.sending or self.outbox.queue:
            return True
        is_open = self._lifecycle.states.state is State.OPEN and not self._lifecycle.over
        return is_open and self._idle_looks < LINGER_LOOKS

    async def _rest(self) -> None:
        if self._queued is None:
            self._queued = self._backend.wakeup()
        if not self._watched:
            self._watched = True
            self._backend.timer.watch(self._look_at_sender)
        await self._queued.wait()

    async def _transmit(self, ticket: SendTicket, raw_send: Awaitable[None]) -> None:
        wire = self._wire
        if not wire.sending:
            self._note_start()
        wire.control.make_room()
        try:
            await raw_send
        except Exception as exc:  # noqa: BLE001 - `_refused` sorts them
            wire.sending = False
            self._observers.send_failed(exc)
            await self._refused(ticket, exc)
        except BaseException as exc:
            wire.sending = False
            self._cut(ticket, exc)
            raise
        else:
            wire.sending = False
            if not ticket.done:
                self._taken(ticket)
        finally:
            self._in_flight = None
            if self._stopped is not None:
                self._stopped.wake()

    def _note_start(self) -> None:
        """A raw send of the sender task is under way from now on."""
        self._wire.sending = True
        self._wire.clear = False
        self._idle_looks = 0
        if self._options.send_timeout is not None:
            self._late = self._backend.now() + self._options.send_timeout
            if self._late_alarm is None:
                self._late_alarm = self._backend.timer.at(self._late, self._look_at_clock)

    async def _prepare(self, event: Outgoing) -> bool:
        """Prepare a handshake answer or a close; return `False` if it is no longer needed."""
        if self._lifecycle.states.state in HANDSHAKE:
            for _ in range(CHECKPOINTS_BEFORE_ANSWER):
                await self._backend.checkpoint()
        return not isinstance(event, Close) or await self._prepare_close(event)

    async def _prepare_close(self, event: Close) -> bool:
        states = self._lifecycle.states
        if self._transport.receive_blocks_close:
            self._wire.control.stop()
            for _ in range(CHECKPOINTS_OF_DOUBT):
                if self._wire.receiving:
                    await self._backend.checkpoint()
        if states.state is State.CLOSED:  # the receiver heard the end meanwhile
            return False
        if states.state is State.CLOSING:
            # From now on the code is said: whatever the server reports later does not replace it.
            states.apply(Transition.CLOSE, (event.code, event.reason))
        return True

    def _note_clear(self) -> None:
        """Nothing is in flight any more."""

    def _taken(self, ticket: SendTicket) -> None:
        event = ticket.event
        if isinstance(event, (str, bytes)):
            self.messages += 1
            self.bytes += ticket.size
            if self._observers.messages:
                self._observers.message_sent(event, ticket.size)
            ticket.finish()
            self._note_clear()
            return
        if isinstance(event, Accept):
            self._lifecycle.on_accepted(event.subprotocol)
        ticket.finish()
        if isinstance(event, Close | Reject):
            self._lifecycle.on_close_taken()

    async def _refused(self, ticket: SendTicket, exc: Exception) -> None:
        """The raw send has raised: is the peer gone, or is this about the event?"""
        gone = await self._means_gone(exc)
        lifecycle = self._lifecycle
        if gone:
            lifecycle.break_off(exc)
        elif ticket.done:
            return
        elif isinstance(ticket.event, Close):
            # No call can do anything about a close that the server does not take.
            logger.debug("the server refused the close: %r", exc)
            lifecycle.close_is_done()
        else:
            if isinstance(ticket.event, Accept):
                # Hypercorn's trio worker dies of a handshake that is left half-answered.
                lifecycle.begin_close(CloseCode.INTERNAL_ERROR, "")
            if ticket.waiter is None:
                lifecycle.fail(Raiser.CONNECTION, exc)
            else:
                ticket.finish(exc)
            self._note_clear()

    def _cut(self, ticket: SendTicket, exc: BaseException) -> None:
        """The raw send was cancelled together with the connection, or an interrupt ended it."""
        is_foreign = isinstance(exc, anyio.get_cancelled_exc_class()) and not self.gave_up
        if is_foreign and ticket.caller is not None:
            # A cancellation of the server's or of a middleware: it belongs to the call.
            self._lifecycle.tasks.notify(ticket.caller)
            ticket.finish(exc)
        self._lifecycle.break_off(None)

    async def _means_gone(self, exc: Exception) -> bool:
        wire, lifecycle = self._wire, self._lifecycle
        certain = isinstance(exc, OSError)
        if self._options.strict and not certain:
            return False
        # Give a disconnect that is on its way the chance to be heard first: it has the code.
        wire.doubt = exc
        try:
            wire.control.look_for_disconnect()
            for _ in range(CHECKPOINTS_OF_DOUBT):
                if lifecycle.end is not None or not (wire.receiving or wire.held):
                    break
                await self._backend.checkpoint()
        finally:
            wire.doubt = None
        return certain or lifecycle.end is not None or self._transport.says_gone(exc)

    def _sender_ended(self, error: BaseException | None) -> None:
        self._service = None
        self._lifecycle.service_ended(error)
        if self._stopped is not None:
            self._stopped.wake()
        if not self.gave_up and self.outbox.queue:
            self._wake_sender()

    # ------------------------------------------------------------------------------------- time

    def _look_at_clock(self) -> None:
        """Is the raw send late? One alarm serves all of them: most are done long before it."""
        self._late_alarm = None
        if not (self._wire.sending and self._late):
            return
        if self._backend.now() < self._late:
            self._late_alarm = self._backend.timer.at(self._late, self._look_at_clock)
            return
        timeout = self._options.send_timeout
        self._lifecycle.break_off(TimeoutError(f"the server took no message within {timeout} s"))
        self._transport.abort()

    def _look_at_sender(self) -> bool:
        """Let an idle sender task end."""
        if self._service is not None and self._idle_looks < LINGER_LOOKS:
            self._idle_looks += 1
            if self._idle_looks < LINGER_LOOKS:
                return True
            if self._queued is not None:
                self._queued.wake()
        self._watched = False
        return False

    # --------------------------------------------------------------- the close, the end, the exit

    def on_accepted(self) -> None:
        """As `Listener.on_accepted`."""
        self._note_clear()

    def on_closing(self, close: Close | None) -> None:
        """As `Listener.on_closing`: the close goes behind what is queued."""
        self._wire.clear = False
        if close is not None:
            self._queue(SendTicket(close))

    def on_end(self, end: End, close: Close | None) -> None:
        """As `Listener.on_end`: drop the buffer; what is queued is lost."""
        self._wire.clear = False
        in_flight = self._in_flight
        is_closing = in_flight is not None and isinstance(in_flight.event, Close | Reject)
        if close is None and is_closing and not end.broken:
            return
        dropped = self.outbox.drop()
        if in_flight is not None and not in_flight.done:
            dropped.insert(0, in_flight)
        self._lose(dropped)
        if close is not None:
            self._queue(SendTicket(close))
            return
        self.gave_up = True
        if self._service is not None:
            self._service.cancel()

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
        self.gave_up = True
        self._lose(self.outbox.drop())
        if self._service is not None:
            self._service.cancel()

    async def stopped(self) -> None:
        """Wait until the raw send that was given up has come back, and say so if it does not.

        The block waits for it all the same: no task may be left behind.
        """
        if self._stopped is None:
            self._stopped = self._backend.wakeup()
        with anyio.move_on_after(STUCK_SECONDS, shield=True) as limit:
            await self._until_stopped()
        if limit.cancelled_caught and not self._transport.abort():
            logger.warning(
                "the server's send() is stuck and cannot be cancelled, so the block of this "
                "WebSocket cannot exit yet; see the page on servers for what frees it"
            )
        await self._until_stopped()

    async def _until_stopped(self) -> None:
        while self._service is not None or self._wire.sending:
            assert self._stopped is not None
            await self._stopped.wait()

    @property
    def waiting_calls(self) -> int:
        """How many calls wait for something that is queued or in flight."""
        in_flight = self._in_flight
        return self.outbox.waiting_calls + (in_flight is not None and in_flight.waiter is not None)

    def release(self) -> None:
        """The block has been left."""
        self._backend.timer.unwatch(self._look_at_sender)
        if self._late_alarm is not None:
            self._late_alarm.cancel()
            self._late_alarm = None
