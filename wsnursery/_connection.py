"""The engine: what one connection knows, what its end does, and the calls of the application.

Three modules share the work. This one holds the state and everything that changes it without I/O;
`_services` holds the tasks that talk to the server; `_block` enters and leaves. The rule between
them: whoever learns of an end tells the connection, and everybody else looks at ``Connection.end``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyio import (
    BusyResourceError,
    CancelScope,
    ClosedResourceError,
    WouldBlock,
    current_time,
    get_cancelled_exc_class,
    move_on_after,
)
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from ._buffers import Delivery, Inbox, Outbox, WebSocketStatistics, size_of
from ._errors import LocalProtocolError, WebSocketDisconnected, attribute, is_attributed
from ._host import NO_HOST, Host, current_host
from ._options import Options
from ._outcome import Failure, Source, without
from ._protocol import Accept, Close, Event, Protocol, Reject, State
from ._services import Services
from ._tasks import (
    Cut,
    Participant,
    current_lineage,
    current_participant,
    set_lineage,
    who_must_stop,
)
from ._transport import Transport
from ._types import Message
from ._wakeup import Wakeup, wakeup_class

if TYPE_CHECKING:
    from anyio.abc import TaskGroup, TaskStatus

CHECKPOINTS_BEFORE_ACCEPT = 5
"""Checkpoints between the server's ``connect`` and our ``accept``.

Hypercorn's trio worker dies when data that came in the same packet as the handshake meets an accept
that is already under way; 3 checkpoints let it finish reading first, 5 leave a margin."""


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

    def __init__(self, transport: Transport, options: Options) -> None:
        self.transport = transport
        self.options = options
        self.protocol = Protocol()
        self.inbox = Inbox(options.receive_buffer, options.receive_buffer_bytes)
        self.outbox = Outbox(options.send_buffer, options.send_buffer_bytes)
        self.origin = object()
        """Identifies this connection in exceptions and lineages without keeping it alive."""
        self.subprotocol: str | None = None

        # The end.
        self.end: End | None = None
        self.own_close = False
        """The application has closed or rejected."""
        self.left = False
        """The block has been left: nothing may be called any more."""
        self.undelivered = 0
        self.lost_unnoticed = False
        """A message was lost for which no call was waiting."""
        self.informed = False
        """Some call has said that the connection ended."""

        # The application.
        self.group: TaskGroup | None = None
        self.outer_lineage = current_lineage()
        """What the block is part of; its children are part of that too."""
        self.body = Participant(self.origin)
        self.participants: dict[Participant, None] = {self.body: None}
        """The body and the children that have not finished, in the order of their start."""
        self._readers: set[Participant] = set()
        """Those of them that ever asked for a message."""
        self._cut = Cut.NOBODY
        self.body_finished = False
        self.ever_read = False
        self.failures: list[Failure] = []
        self.outcome: BaseException | None = None
        """What the block is to raise, once it has been left."""

        # Sleepers. Each lets one task at a time wait; see `Wakeup`.
        self.host: Host = current_host()
        self.new_wakeup: type[Wakeup] = wakeup_class()
        self._reader = self.new_wakeup()
        self._reading = False
        self._reader_waits = False
        self._reader_told = False
        self._reader_participant: Participant | None = None
        self._requested = self.new_wakeup()
        self._accepting = False
        self._accept_caller: Participant | None = None

        self.services = Services(self)

    # ---------------------------------------------------------------- what the application calls

    async def accept(self, event: Accept) -> None:
        """Complete the handshake, once the server has announced it."""
        await checkpoint_if_cancelled()
        self._refuse_after_block()
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
            await checkpoint()
            raise self._sorry()
        caller = self._accept_caller = current_participant(self.origin)
        try:
            while self.protocol.state is State.CONNECTING:
                await self._requested.wait()
            if self.protocol.state is State.REQUESTED:
                for _ in range(CHECKPOINTS_BEFORE_ACCEPT):
                    await checkpoint()
        except BaseException:
            if self.end is not None:
                self._untell(caller)
            raise
        finally:
            self._accept_caller = None
        if self.over:
            raise self._sorry()

    async def reject(self, event: Reject | Close) -> None:
        """Deny the handshake."""
        self._refuse_after_block()
        if self.over:
            await checkpoint()
            raise self._sorry()
        # As in `close`: no checkpoint before it is queued.
        self.protocol.apply(Event.REJECT)
        self._say_closed()
        self._tell(current_participant(self.origin))
        await self._delivered(self._queue(Delivery(event)))

    async def send(self, message: Message) -> None:
        """Hand a message to the server and wait until it has been taken."""
        await self._until_can_send()
        await self._delivered(self._queue(Delivery(message, size_of(message))))

    async def _until_can_send(self) -> None:
        """Raise what a call that sends raises now; a checkpoint if it does."""
        await checkpoint_if_cancelled()
        if self.over or not self.protocol.allows(Event.MESSAGE_OUT):
            # A loop that sends to a dead peer must not freeze the process.
            await checkpoint()
        self.check_can_send()

    def send_nowait(self, message: Message) -> None:
        """Queue a message."""
        self.check_can_send()
        if not self.offer(message, size_of(message)):
            raise WouldBlock(
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
        await self._until_can_send()
        await self._delivered(self._queue(Delivery(None)))

    async def receive(self) -> Message:
        """Wait for the next message."""
        message = await self.next_message()
        if message is None:
            raise self._sorry()
        return message

    async def next_message(self) -> Message | None:
        """Wait for the next message; `None` after an orderly end or the own close."""
        await checkpoint_if_cancelled()
        self._refuse_after_block()
        if self._reading:
            raise BusyResourceError("receiving from")
        if not self.over:
            self.protocol.apply(Event.RECEIVE)
        reader = current_participant(self.origin)
        self._note_reader(reader)
        self._reading = True
        try:
            await self._readable(reader)
        finally:
            self._reading = False
        # From here to the return nothing may be awaited: a cancellation would lose the message.
        if self._has_message():
            message = self.inbox.take()
            self.services.make_room()
            return message
        if self.end is not None and self.end.broken and not self.own_close:
            raise self.told()
        self._note_told()
        return None

    def _note_reader(self, reader: Participant | None) -> None:
        self.ever_read = True
        if reader is not None and not reader.reads:
            reader.reads = True
            self._readers.add(reader)

    async def _readable(self, reader: Participant | None) -> None:
        self._reader_waits, self._reader_told = True, False
        self._reader_participant = reader
        try:
            if self._has_message() or self.over:
                await checkpoint()
            while not self._has_message() and not self.over:
                await self._reader.wait()
        except BaseException:
            if self._reader_told:
                self._untell(reader)
            raise
        finally:
            self._reader_waits = False

    def _tell_waiting_reader(self) -> None:
        if self._reader_waits and not self._reader_told:
            self._reader_told = True
            self._tell(self._reader_participant)
            self._reader.wake()

    def _has_message(self) -> bool:
        return len(self.inbox) > 0

    async def close(self, code: int, reason: str) -> None:
        """Flush, close, and return when the server has taken it or ``close_timeout`` is over."""
        self._refuse_after_block()
        # Before the first checkpoint: a close in a cancelled scope goes out all the same.
        if self.end is None:
            self.begin_close(code, reason)
        self._tell(current_participant(self.origin))
        timeout = self.options.close_timeout
        with move_on_after(timeout) as limit:
            await self.close_taken()
        if limit.cancelled_caught:
            self.break_off(TimeoutError(f"could not flush and close within {timeout} s"))

    async def close_taken(self) -> None:
        """Wait until the server has taken the close, or the connection has ended without it."""
        await checkpoint()
        if self.services.can_send:
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
        self.own_close = True
        self.inbox.clear()
        self._tell_waiting_reader()
        self.services.make_room()

    # ----------------------------------------------------------------------------------- the end

    def heard_connect(self) -> None:
        """The server has announced the handshake."""
        self.protocol.apply(Event.CONNECT)
        self._requested.wake()

    def heard_message(self, message: Message, size: int) -> None:
        """A message has found its room in the inbox."""
        self.inbox.put(message, size)
        self._reader.wake()

    def heard_disconnect(self, code: int | None, reason: str, doubt: Exception | None) -> None:
        """The server has delivered the disconnect.

        Args:
            code: The close code, if the server gave one.
            reason: The close reason.
            doubt: What a raw send has just raised; the disconnect explains it.
        """
        self.protocol.apply(Event.DISCONNECT, (code, reason) if self.end is None else None)
        if not self.services.is_closing:
            self._stop_sending()
        self._finish(broken=False, cause=doubt)

    def break_off(self, cause: BaseException | None) -> None:
        """End it as broken: nothing is sent any more, not even a close."""
        self.protocol.apply(Event.END)
        if self.end is None and not self.services.close_taken:
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

    def close_is_done(self) -> None:
        """End it: the own close went out and nothing more can come."""
        self.protocol.apply(Event.END)
        self._finish(broken=False, cause=None)

    def give_up(self) -> None:
        """End it, because nobody is left to use it."""
        if self.services.close_taken:
            self.close_is_done()
        elif self.end is None:
            self.break_off(None)

    def _finish(self, *, broken: bool, cause: BaseException | None) -> None:
        """The end. Drop what is worth nothing, tell everyone who waits, cancel who must stop.

        The first end counts; later ones change nothing.
        """
        if self.end is not None:
            return
        self.end = End(broken=broken, cause=cause, time=current_time())
        if broken:
            self.inbox.clear()
        if not self._has_message():
            self._tell_waiting_reader()
        self._tell(self._accept_caller)
        self._requested.wake()
        self.services.heard_end(self.end)
        self.cut()

    def _stop_sending(self) -> None:
        self.services.give_up_sending()
        self._lose(self.outbox.drop())

    def drop_messages(self) -> None:
        """Give up the messages that are queued; what is in flight and a close may go out."""
        self._lose(self.outbox.drop_messages())

    def _lose(self, deliveries: list[Delivery]) -> None:
        """Count what is lost; the calls that wait for it are told."""
        for delivery in deliveries:
            if delivery.is_message:
                self.undelivered += 1
                self.lost_unnoticed |= delivery.waiter is None
            if delivery.waiter is not None:
                self._tell(delivery.caller)
            delivery.lose()

    def cut(self) -> None:
        """Cancel whoever must stop by now; see `who_must_stop`."""
        if self.end is None:
            return
        cut = who_must_stop(
            broken=self.end.broken,
            unread=self._has_message(),
            ever_read=self.ever_read,
            may_read=any(not reader.told for reader in self._readers),
            body_finished=self.body_finished,
        )
        self._raise_cut(cut)

    def end_grace(self) -> None:
        """The grace period is over: cancel whoever is left."""
        self._raise_cut(Cut.EVERYONE)

    def _raise_cut(self, cut: Cut) -> None:
        if cut > self._cut:
            self._cut = cut
            for participant in self.participants:
                self._cut_one(participant)

    def _cut_one(self, participant: Participant) -> None:
        if self._cut >= participant.falls_at:
            if participant is self.body:
                self.host.about_to_cut()
            participant.scope.cancel()

    # ------------------------------------------------------------------------------ the children

    async def run_child(
        self,
        participant: Participant,
        func: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
    ) -> None:
        """Run a child; whatever it raises is noted and leaves through the block."""
        set_lineage((*self.outer_lineage, participant))
        try:
            with participant.scope, _sealed(participant.scope):
                await func(*args)
        except BaseException as exc:  # noqa: BLE001 - what matters of it leaves through the block
            self._child_failed(exc)
        finally:
            self._part(participant)

    async def run_started_child(
        self,
        participant: Participant,
        func: Callable[..., Awaitable[object]],
        args: tuple[Any, ...],
        *,
        task_status: TaskStatus[Any],
    ) -> None:
        """Run a child whose starter waits; until it has started, errors are the starter's."""
        status = _Started(task_status)
        set_lineage((*self.outer_lineage, participant))
        try:
            with participant.scope, _sealed(participant.scope):
                await func(*args, task_status=status)
            if participant.scope.cancelled_caught and not status.called:
                raise self.own_exception()
        except BaseException as exc:
            if not status.called:
                raise
            self._child_failed(exc)
        finally:
            self._part(participant)

    def join(self) -> Participant:
        """Make room for one more child."""
        participant = Participant(self.origin)
        self.participants[participant] = None
        self._cut_one(participant)
        return participant

    def _part(self, participant: Participant) -> None:
        del self.participants[participant]
        self._readers.discard(participant)
        self.cut()

    def finish_body(self, error: BaseException | None) -> None:
        """The body of the block has been left; ``error`` is what it raised."""
        self.body_finished = True
        self._part(self.body)
        if error is not None:
            failed = self.is_failure(error)
            self.failures.append(Failure(Source.BODY, error))
            if failed and self.group is not None:
                self.group.cancel_scope.cancel()

    def _child_failed(self, exc: BaseException) -> None:
        if self.is_failure(exc):
            self.fail(Source.CHILD, exc)

    def is_failure(self, error: BaseException) -> bool:
        """Whether there is more in an error than this connection's end and cancellations."""
        cancelled = get_cancelled_exc_class()
        rest = without(error, lambda exc: self.is_own(exc) or isinstance(exc, cancelled))
        return rest is not None

    def fail(self, source: Source, error: BaseException) -> None:
        """Something failed that ends the application: cancel it, as a nursery does."""
        self.failures.append(Failure(source, error))
        if self.group is not None:
            self.host.about_to_cut()
            self.group.cancel_scope.cancel()

    # ---------------------------------------------------------------------------- being told

    def own_exception(self) -> WebSocketDisconnected:
        """The facts of the end, as a new exception chained to the server's own."""
        own = WebSocketDisconnected(self.protocol.code, self.protocol.reason, self.undelivered)
        own.__cause__ = None if self.end is None else self.end.cause
        return attribute(own, self.origin)

    def is_own(self, exc: BaseException) -> bool:
        """Whether an exception speaks of this connection's end."""
        return is_attributed(exc, self.origin)

    def told(self) -> WebSocketDisconnected:
        """The exception for the calling task, which from now on knows."""
        self._note_told()
        return self.own_exception()

    def _note_told(self) -> None:
        self.informed |= self.end is not None
        self._tell(current_participant(self.origin))

    def _tell(self, participant: Participant | None) -> None:
        if participant is not None:
            participant.tell()
            self.cut()

    def _untell(self, participant: Participant | None) -> None:
        if participant is not None:
            participant.untell()
            self._cut_one(participant)

    @property
    def over(self) -> bool:
        """Whether nothing can be sent or received any more."""
        return self.end is not None or self.own_close or self.left

    def _sorry(self) -> Exception:
        """Why nothing can be sent or received any more."""
        self._refuse_after_block()
        if self.own_close:
            self._note_told()
            return ClosedResourceError("this side has closed the WebSocket: nothing can follow")
        return self.told()

    def _refuse_after_block(self) -> None:
        if self.left:
            raise ClosedResourceError("the `async with` block of this WebSocket has been left")

    # ------------------------------------------------------------------------------------ sending

    def _queue(self, delivery: Delivery) -> Delivery:
        self.outbox.put(delivery)
        self.services.start_sending()
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
        delivery.caller = current_participant(self.origin)
        delivery.waiter = self.new_wakeup()
        try:
            while not delivery.done:
                await delivery.waiter.wait()
        except BaseException:
            self._abandon(delivery)
            raise

    def _abandon(self, delivery: Delivery) -> None:
        """The call that waits for it was cancelled."""
        delivery.waiter = None
        if not delivery.done:
            self.outbox.withdraw(delivery)
        elif delivery.lost:
            self._untell(delivery.caller)
        elif delivery.error is not None:
            self.fail(Source.CONNECTION, delivery.error)

    # ------------------------------------------------------------------------------- after the end

    def release(self) -> None:
        """The block has been left: keep the facts, let go of everything else."""
        self.left = True
        self.group = self.services.group = None
        self.outer_lineage = ()
        self.host = NO_HOST
        self.failures.clear()
        self.outcome = None
        self.inbox.clear()
        if self.end is not None:
            self.end = End(self.end.broken, None, self.end.time)

    # ------------------------------------------------------------------------------------- counts

    def statistics(self) -> WebSocketStatistics:
        """A snapshot of the counters."""
        return WebSocketStatistics(
            messages_received=self.services.messages_received,
            bytes_received=self.services.bytes_received,
            messages_sent=self.services.messages_sent,
            bytes_sent=self.services.bytes_sent,
            receive_buffer_used=len(self.inbox),
            receive_buffer_used_bytes=self.inbox.bytes,
            receive_buffer_high_water=self.inbox.high_water,
            send_buffer_used=len(self.outbox),
            send_buffer_used_bytes=self.outbox.bytes,
            send_buffer_high_water=self.outbox.high_water,
            tasks_waiting_send=self.outbox.waiting_calls,
            round_trip_time=self.transport.round_trip_time,
        )


@contextmanager
def _sealed(scope: CancelScope) -> Generator[None]:
    """Let a scope that was cancelled end its own cancellation, whatever is cancelled around it.

    Without this, anyio (to 4.16 at least) hands the count of asyncio cancellations that the scope
    has asked for to the scope around it, although that one belongs to another task.
    """
    try:
        yield
    finally:
        if scope.cancel_called:
            scope.shield = True


class _Started:
    """A task status that remembers whether it was told."""

    def __init__(self, status: TaskStatus[Any]) -> None:
        self._status = status
        self.called = False

    def started(self, value: Any = None) -> None:
        """Pass the value on to the starter."""
        self._status.started(value)
        self.called = True
