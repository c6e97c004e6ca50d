"""The engine: what one connection knows, what its end does, and the calls of the application.

It does no I/O. `_receiver` and `_sender` talk to the server, `_application` has the tasks of the
application, `_block` enters and leaves. The rule between them: whoever learns of an end tells the
connection, and everybody else looks at ``Connection.end``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import anyio

from wsnursery._backend.native import Native, native
from wsnursery._errors import LocalProtocolError, WebSocketDisconnected, attribute
from wsnursery._options import Options
from wsnursery._statistics import WebSocketStatistics
from wsnursery._types import Message

from .events import Accept, Close, Reject
from .inbox import Inbox, size_of
from .observers import NOBODY, Observers
from .outbox import Delivery, Outbox
from .outcome import Source
from .receiver import Receiver
from .sender import Sender
from .states import Event, Protocol, State
from .stopping import Participant
from .tasks import Application
from .timer import Watchdog
from .transport import Transport

if TYPE_CHECKING:
    from anyio.abc import TaskGroup


@dataclass(frozen=True, slots=True)
class End:
    """How the connection ended. Code and reason are with the protocol: who spoke first decides."""

    broken: bool
    """A raw call failed or took too long, so what was buffered is worth nothing. Otherwise the
    server delivered the disconnect: what the peer sent before it is still good."""
    cause: BaseException | None
    """The server's exception, where it gave one."""
    time: float
    """When, on the backend's clock, in seconds."""


class Connection:
    """One WebSocket from its handshake to its end."""

    # It has 29 attributes. With 30 each instance would take 1.3 KB more, for CPython lets instances
    # share the keys of no more than that.

    def __init__(self, transport: Transport, options: Options) -> None:
        self.transport = transport
        self.options = options
        self.protocol: Protocol = Protocol()
        self.inbox: Inbox = Inbox(options.receive_buffer, options.receive_buffer_bytes)
        self.outbox: Outbox = Outbox(options.send_buffer, options.send_buffer_bytes)
        self.origin: object = object()
        """Identifies this connection in exceptions and lineages without keeping it alive."""
        self.subprotocol: str | None = None
        self.native: Native = native()
        self.observers: Observers = (
            Observers(options.hooks, self.id, self.native.now) if options.hooks else NOBODY
        )

        # The end.
        self.over: bool = False
        """Nothing can be sent or received any more: it ended, was closed or has been left."""
        self.end: End | None = None
        self.own_close: bool = False
        """The application has closed or rejected."""
        self._closers: set[Participant] = set()
        """Whose call that was. They know; to everybody else it happens."""
        self.left: bool = False
        """The block has been left: nothing may be called any more."""
        self.undelivered: int = 0
        self.lost_unnoticed: bool = False
        """A message was lost for which no call was waiting."""
        self.informed: bool = False
        """Some call has said that the connection ended."""

        self.application: Application = Application(self.origin, self.inbox, self.observers)
        """The body and the children."""
        self.outcome: BaseException | None = None
        """What the block is to raise, once it has been left."""

        # The reader, and the call of `accept`. A `Wakeup` lets one task at a time wait.
        self._reader = self.native.wakeup()
        self._waiting_reader: Participant | None = None
        self._reader_told = False
        self._requested = self.native.wakeup()
        self._accepting = False
        self._accept_caller: Participant | None = None

        # The connection's own tasks.
        self.service_group: TaskGroup | None = None
        self.sender: Sender = Sender(self)
        self.receiver: Receiver = Receiver(self)
        self.watchdog: Watchdog = Watchdog(self)

    @cached_property
    def id(self) -> UUID:
        """A name for it, made when somebody asks: most never do."""
        return uuid4()

    # ---------------------------------------------------------------- what the application calls

    async def accept(self, event: Accept) -> None:
        """Complete the handshake, once the server has announced it."""
        await self.native.checkpoint_if_cancelled()
        if self._accepting:
            raise LocalProtocolError("accept() is already under way: call it once")
        self._accepting = True
        try:
            await self._handshake_requested()
            self.protocol.apply(Event.ACCEPT)
            delivery = self._queue(Delivery(event))
            try:
                await self._delivered(delivery)
            finally:
                if delivery.withdrawn:
                    self.protocol.apply(Event.WITHDRAWN)
        finally:
            self._accepting = False

    async def _handshake_requested(self) -> None:
        if self.over:
            await self.native.checkpoint()
            raise self._sorry()
        caller = self._accept_caller = self.application.current()
        try:
            while self.protocol.state is State.CONNECTING:
                await self._requested.wait()
        except BaseException:
            if self.end is not None:
                self.application.untell(caller)
            raise
        finally:
            self._accept_caller = None
        if self.over:
            raise self._sorry()

    async def reject(self, event: Reject) -> None:
        """Deny the handshake."""
        if self.over:
            await self.native.checkpoint()
            raise self._sorry()
        # As in `close`: no checkpoint before it is queued.
        self.protocol.apply(Event.REJECT)
        self._say_closed()
        self._note_closer()
        await self._delivered(self._queue(Delivery(event)))

    async def send(self, message: Message) -> None:
        """Hand a message to the server and wait until it has been taken."""
        await self.native.checkpoint_if_cancelled()
        if self.over or not self.protocol.allows(Event.MESSAGE_OUT):
            await self._refuse_to_send()
        size = size_of(message)
        if not self.sender.is_ready:
            await self._delivered(self._queue(Delivery(message, size)))
            return
        delivery = self.sender.send_now(message, size)
        if delivery is None:
            await self.native.checkpoint()
        else:
            await self._delivered(delivery)

    async def _refuse_to_send(self) -> None:
        # A loop that sends to a dead peer must not freeze the process.
        await self.native.checkpoint()
        self.check_can_send()

    def send_nowait(self, message: Message) -> None:
        """Queue a message."""
        self.check_can_send()
        if not self.offer(message, size_of(message)):
            self.observers.buffer_full("send")
            raise anyio.WouldBlock(
                "the send buffer is full: use `await ws.send(...)`, or treat the peer as too slow"
            )

    def check_can_send(self) -> None:
        """Raise what a call that sends raises now."""
        if self.over:
            raise self._sorry()
        self.protocol.apply(Event.MESSAGE_OUT)

    def offer(self, message: Message, size: int, tag: object = None) -> bool:
        """Queue a message if there is room for it, and say whether there was.

        Args:
            message: The message; that it may be sent now is the caller's to know.
            size: Its payload, in bytes. A room measures it once for all its members.
            tag: What the caller will find it by in the outbox.
        """
        if not self.outbox.has_room(size):
            return False
        self._queue(Delivery(message, size, tag))
        return True

    async def flush(self) -> None:
        """Wait until everything queued before this call has been taken."""
        await self.native.checkpoint_if_cancelled()
        if self.over or not self.protocol.allows(Event.MESSAGE_OUT):
            await self._refuse_to_send()
        await self._delivered(self._queue(Delivery(None)))

    async def next_message(self, *, iterating: bool) -> Message:
        """Wait for the next message; an iteration stops after an orderly end or the own close."""
        is_free = self._waiting_reader is None
        if self.over or not (is_free and self.protocol.allows(Event.RECEIVE)):
            await self.native.checkpoint_if_cancelled()
            self._refuse_after_block()
            if not is_free:
                raise anyio.BusyResourceError("receiving from")
            if not self.over:
                self.protocol.apply(Event.RECEIVE)
        reader, messages = self.application.current(), self.inbox.messages
        if not reader.reads:
            self.application.note_reader(reader)
        self._waiting_reader, self._reader_told = reader, False
        try:
            if messages or self.over:
                await self.native.checkpoint()
            else:
                await self.native.checkpoint_if_cancelled()
            while not messages and not self.over:
                await self._reader.wait()
        except BaseException:
            if self._reader_told:
                self.application.untell(reader)
            raise
        finally:
            self._waiting_reader = None
        # From here to the return nothing may be awaited: a cancellation would lose the message.
        if messages:
            message = self.inbox.take()
            self.receiver.refill()
            return message
        if iterating and (self.own_close or self.end is None or not self.end.broken):
            self._note_told()
            raise StopAsyncIteration
        raise self._sorry()

    async def close(self, code: int, reason: str) -> None:
        """Flush, close, and return when the server has taken it or ``close_timeout`` is over."""
        self._refuse_after_block()
        # Before the first checkpoint: a close in a cancelled scope goes out all the same.
        if self.end is None:
            self.begin_close(code, reason)
        self._note_closer()
        timeout = self.options.close_timeout
        with anyio.move_on_after(timeout) as limit:
            await self.close_taken()
        if limit.cancelled_caught:
            self.break_off(TimeoutError(f"could not flush and close within {timeout} s"))

    def _note_closer(self) -> None:
        closer = self.application.current()
        self._closers.add(closer)
        self.application.tell(closer)

    async def close_taken(self) -> None:
        """Wait until the server has taken the close, or the connection has ended without it."""
        await self.native.checkpoint()
        if not self.sender.has_given_up:
            await self._settled(self._queue(Delivery(None)))

    # ---------------------------------------------------------------------------- the own close

    def begin_close(self, code: int, reason: str) -> None:
        """Say that it is over and queue the close behind what is queued. The first call counts."""
        if self.own_close:
            return
        self.protocol.apply(Event.CLOSE)
        self._say_closed()
        self._queue(Delivery(Close(code, reason)))

    def _say_closed(self) -> None:
        """Let go of who reads, and of what was received for nobody."""
        self.own_close = self.over = True
        self._forget_received()
        self._reader.wake()
        self.receiver.look_for_room()

    # ----------------------------------------------------------------------------------- the end

    def heard_connect(self) -> None:
        """The server has announced the handshake."""
        self.protocol.apply(Event.CONNECT)
        self._requested.wake()

    def heard_message(self, message: Message, size: int) -> None:
        """A message has found its room in the inbox."""
        self.inbox.put(message, size)
        if self._waiting_reader is not None:
            self._reader.wake()

    def accepted(self, subprotocol: str | None) -> None:
        """The server has taken the accept."""
        self.protocol.apply(Event.ACCEPTED)
        self.subprotocol = subprotocol
        self.observers.accepted(subprotocol)
        self.receiver.watch_idle()

    def heard_disconnect(self, code: int | None, reason: str) -> None:
        """The server has delivered the disconnect, with a close code if it has one.

        If a raw send has raised just now, the disconnect explains it.
        """
        self.protocol.apply(Event.DISCONNECT, (code, reason) if self.end is None else None)
        if not self.sender.is_closing:
            self._stop_sending()
        self._finish(broken=False, cause=self.sender.doubt)

    def break_off(self, cause: BaseException | None) -> None:
        """End it as broken: nothing is sent any more, not even a close."""
        self.protocol.apply(Event.END)
        if self.end is None and not self.sender.close_taken:
            self.protocol.facts = None  # a code that nobody got to hear is none
        self._stop_sending()
        self._finish(broken=True, cause=cause)

    def close_by_itself(self, code: int, reason: str, cause: BaseException | None) -> None:
        """End it for a limit that the peer exceeded: what it sent before is still good."""
        if self.own_close or self.end is not None:
            return
        self.protocol.apply(Event.CLOSE)
        if self.protocol.state is State.CLOSING:  # a denial has no close code
            self.protocol.apply(Event.CLOSE, (code, reason))
        self._lose(self.outbox.drop())
        self._finish(broken=False, cause=cause)
        self._queue(Delivery(Close(code, reason)))

    def close_went_out(self) -> None:
        """The close or the denial is out: the rest is up to the peer, for a while."""
        if self.end is not None:
            return
        if self.protocol.state is State.REJECTED or not self.receiver.is_running:
            self.close_is_done()
        else:
            late = self.native.now() + self.options.close_timeout
            self.watchdog.watch(self.close_is_done, late)

    def close_is_done(self) -> None:
        """End it: the own close went out and nothing more can come."""
        self.protocol.apply(Event.END)
        self._finish(broken=False, cause=None)

    def give_up(self) -> None:
        """End it, because nobody is left to use it."""
        if self.sender.close_taken:
            self.close_is_done()
        elif self.end is None:
            self.break_off(None)

    def _finish(self, *, broken: bool, cause: BaseException | None) -> None:
        """The end. Drop what is worth nothing, tell everyone who waits, cancel who must stop.

        The first end counts; later ones change nothing.
        """
        if self.end is not None:
            return
        self.end = End(broken=broken, cause=cause, time=self.native.now())
        self.over = True
        if broken:
            self._forget_received()
        self.observers.disconnected(
            self.protocol.code, self.protocol.reason, broken=broken, cause=cause
        )
        if broken and self._waiting_reader is not None:
            # After an orderly end a reader keeps everybody alive until it has heard of it itself.
            # Here it must count as told before the others are cancelled.
            self._reader_told = True
            self.application.tell(self._waiting_reader)
        self._reader.wake()
        if self._accept_caller is not None:
            self.application.tell(self._accept_caller)
        self._requested.wake()
        self.receiver.changed()
        if self.application.is_running:
            alarm = self.application.end_grace
            self.watchdog.watch(alarm, self.end.time + self.options.grace_period)
        self.application.end(broken=broken)

    def _stop_sending(self) -> None:
        self.sender.give_up()
        self._lose(self.outbox.drop())

    def drop_messages(self) -> None:
        """Give up the messages that are queued; what is in flight and a close may go out."""
        self._lose(self.outbox.drop_messages())

    def _forget_received(self) -> None:
        """Nobody is going to read what waits in the inbox."""
        self.observers.dropped("receive", len(self.inbox))
        self.inbox.clear()

    def _lose(self, deliveries: list[Delivery]) -> None:
        """Count what is lost; the calls that wait for it are told."""
        self.observers.dropped("send", sum(delivery.is_message for delivery in deliveries))
        for delivery in deliveries:
            if delivery.is_message:
                self.undelivered += 1
                self.lost_unnoticed |= delivery.waiter is None
            if delivery.caller is not None:
                self.application.tell(delivery.caller)
            delivery.lose()

    def fail(self, source: Source, error: BaseException) -> None:
        """Something failed that ends the application."""
        self.application.fail(source, error)

    # ------------------------------------------------------------------------ the own tasks

    def start(self) -> None:
        """Start what must always run."""
        self.observers.opened(self.transport.scope)
        self.receiver.start()

    def service_ended(self) -> None:
        """One of the own tasks has ended."""
        self.receiver.changed()

    async def stop(self) -> None:
        """Cancel the own tasks; their group waits for them."""
        for service in (self.receiver, self.sender, self.watchdog):
            service.stop()
        await self.sender.stopped()

    # ---------------------------------------------------------------------------- being told

    def own_exception(self) -> WebSocketDisconnected:
        """The facts of the end, as a new exception chained to the server's own."""
        own = WebSocketDisconnected(self.protocol.code, self.protocol.reason, self.undelivered)
        own.__cause__ = None if self.end is None else self.end.cause
        return attribute(own, self.origin)

    def told(self) -> WebSocketDisconnected:
        """The exception for the calling task, which from now on knows."""
        self._note_told()
        return self.own_exception()

    def _note_told(self) -> None:
        self.informed |= self.end is not None
        self.application.tell(self.application.current())

    @property
    def is_closing(self) -> bool:
        """This side has said close, and the end has not been heard."""
        return self.protocol.state is State.CLOSING

    def _sorry(self) -> Exception:
        """Why nothing can be sent or received any more."""
        self._refuse_after_block()
        if self.own_close:
            self._note_told()
            if self.application.current() in self._closers:
                return anyio.ClosedResourceError(
                    "this task has closed the WebSocket: nothing can follow"
                )
            # To whom it merely happens it is an end: a child that lets it escape has simply ended.
            closed = anyio.ClosedResourceError("another task has closed the WebSocket")
            return attribute(closed, self.origin)
        return self.told()

    def _refuse_after_block(self) -> None:
        if self.left:
            raise anyio.ClosedResourceError(
                "the `async with` block of this WebSocket has been left"
            )

    # ------------------------------------------------------------------------------------ sending

    def _queue(self, delivery: Delivery) -> Delivery:
        self.outbox.put(delivery)
        self.sender.look()
        return delivery

    async def _delivered(self, delivery: Delivery) -> None:
        """Wait until the server has taken an event, or raise what became of it."""
        await self._settled(delivery)
        if delivery.lost:
            raise self.told()
        if delivery.error is not None:
            # Take it out of the delivery: its traceback leads back to it.
            error, delivery.error = delivery.error, None
            try:
                raise error
            finally:
                del error

    async def _settled(self, delivery: Delivery) -> None:
        """Wait until it is known what became of an event. Cancelled, the event is withdrawn."""
        caller = delivery.caller = self.application.current()
        delivery.waiter = self.native.wakeup()
        try:
            while not delivery.done:
                await delivery.waiter.wait()
        except BaseException:
            self._abandon(delivery, caller)
            raise

    def _abandon(self, delivery: Delivery, caller: Participant) -> None:
        """The call that waits for it was cancelled."""
        delivery.waiter = delivery.caller = None
        if not delivery.done:
            self.outbox.withdraw(delivery)
        elif delivery.lost:
            self.application.untell(caller)
        elif delivery.error is not None:
            self.fail(Source.CONNECTION, delivery.error)

    # ------------------------------------------------------------------------------- after the end

    def release(self) -> None:
        """The block has been left: keep the facts, let go of everything else."""
        self.left = self.over = True
        self._forget_received()
        self.observers.closed(
            self.protocol.code, self.protocol.reason, self.outcome, self.statistics
        )
        self.service_group = None
        self.application.release()
        self._closers.clear()
        self.outcome = None
        self.end = None if self.end is None else replace(self.end, cause=None)

    # ------------------------------------------------------------------------------------- counts

    def statistics(self) -> WebSocketStatistics:
        """A snapshot of the counters."""
        return WebSocketStatistics(
            messages_received=self.receiver.messages,
            bytes_received=self.receiver.bytes,
            messages_sent=self.sender.messages,
            bytes_sent=self.sender.bytes,
            receive_buffer_used=len(self.inbox),
            receive_buffer_used_bytes=self.inbox.bytes,
            receive_buffer_high_water=self.inbox.high_water,
            send_buffer_used=len(self.outbox),
            send_buffer_used_bytes=self.outbox.bytes,
            send_buffer_high_water=self.outbox.high_water,
            tasks_waiting_send=self.outbox.waiting_calls,
            round_trip_time=self.transport.round_trip_time,
        )
