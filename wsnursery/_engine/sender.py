"""The sender task: it sends queued events, one at a time.

It sends everything that callers do not send in place: answers to the handshake, the close, messages
that had to wait, and the rest of a raw send that a caller has begun. A raw send of this task is
never cancelled because its caller was, so a partial frame is never sent. It is only abandoned
together with the connection.

The task of a room, `SharedSender`, sends queued events in the same way until it has to wait. It
then becomes the sender task.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

import anyio

from wsnursery._backend.backend import Backend
from wsnursery._backend.steps import SuspendedSend, past_checkpoints
from wsnursery._codes import CloseCode
from wsnursery._options import Options

from .connection_log import ConnectionLog
from .events import Accept, Close, Outgoing, Reject
from .lifecycle import Lifecycle
from .observers import Observers
from .outbox import Outbox, SendTicket
from .outcome import Raiser
from .preparing import prepare
from .raw_failure import peer_is_gone
from .service import ServiceTask
from .states import State
from .transport import Transport

if TYPE_CHECKING:
    from wsnursery._backend.timer import Alarm
    from wsnursery._backend.wakeup import Wakeup


LINGER_LOOKS = 40
"""The sender task ends after this many checks of the timer without an event to send: 1 s. Starting
the task for every message would cost more than the message."""

STUCK_SECONDS = 1.0
"""Seconds after which an abandoned raw send that has not returned is logged. Where it is possible,
the connection is dropped instead, which makes the send return."""


class Sender:
    """Sends from the outbox to the server.

    Args:
        outbox: The queue.
        lifecycle: Notified of the accept, the close and an abnormal end.
        transport: The server.
        options: The limits.
        observers: Notified of messages.
        backend: The event loop.
    """

    __slots__ = (
        "_backend",
        "_deadline_alarm",
        "_idle_looks",
        "_is_watched",
        "_lifecycle",
        "_observers",
        "_options",
        "_outbox",
        "_queued",
        "_stuck_alarm",
        "_suspended",
        "_transport",
        "_wire",
        "bytes",
        "deadline",
        "has_turn",
        "in_flight",
        "is_stopped",
        "messages",
        "returned",
        "service",
    )

    def __init__(
        self,
        outbox: Outbox,
        lifecycle: Lifecycle,
        transport: Transport,
        options: Options,
        observers: Observers,
        backend: Backend,
    ) -> None:
        self._outbox = outbox
        self._lifecycle = lifecycle
        self._wire = lifecycle.wire
        self._transport = transport
        self._options = options
        self._observers = observers
        self._backend = backend
        self.messages: int = 0
        self.bytes: int = 0
        self.service: ServiceTask | None = None
        """The task, while there is one."""
        self.in_flight: SendTicket | None = None
        """The event that was given to the server, which has not taken it yet."""
        self._suspended: Awaitable[None] | None = None
        """The rest of a raw send that a caller has begun."""
        self.is_stopped: bool = False
        """Whether queued events are not sent any more."""
        self.has_turn: bool = False
        """Whether a `SharedSender` sends the queued events, one at a time. Then no task is started,
        and nothing may be sent in place until they are sent."""
        self.deadline: float = 0.0
        """The time at which the raw send in flight exceeds `Options.send_timeout`."""
        self._deadline_alarm: Alarm | None = None
        self._idle_looks = LINGER_LOOKS
        """The number of checks since the task had an event that it should linger for."""
        self._is_watched = False
        """Whether the timer checks if the task is idle."""
        self._queued: Wakeup | None = None
        """Wakes the task."""
        self.returned: Wakeup | None = None
        """Wakes the block, which waits for the raw send in flight. It is made when the block
        waits."""
        self._stuck_alarm: Alarm | None = None
        """Frees that raw send, or logs that it is stuck."""

    def wake(self) -> None:
        """There is an event to send: start the task, unless there is one."""
        if self.service is not None:
            if self._queued is not None:
                self._queued.wake()
        elif not (self.is_stopped or self.has_turn) and (
            self._suspended is not None or not self._wire.sending
        ):
            # While a raw send in place is in flight, its end continues with the queue.
            self.service = ServiceTask(self._backend, "wsnursery sender", self.send_all, self.ended)

    def take_over(self, ticket: SendTicket, suspended: Awaitable[None]) -> SendTicket:
        """Finish a raw send that a caller has begun."""
        self.in_flight = ticket
        self._suspended = suspended
        # The task lingers, because the next sends to a peer that reads slowly have to wait too.
        self._idle_looks = 0
        self.note_start()
        self.wake()
        return ticket

    async def go_on(self, rest: SuspendedSend, task: ServiceTask) -> None:
        """Finish a turn that has to wait. The task that began it is the sender task now."""
        self.has_turn = False
        self.service = task
        await rest

    @property
    def has_more(self) -> bool:
        """Whether an event is queued."""
        return bool(self._outbox.queue)

    async def send_all(self) -> None:
        """Send the queued events, or one event in a turn, and wait a while for more."""
        while True:
            ticket = None
            if self._suspended is not None:
                suspended, self._suspended = self._suspended, None
                assert self.in_flight is not None
                await self._transmit(self.in_flight, suspended)
                continue
            if not self._wire.held and not self._wire.sending:
                ticket = self._outbox.take()
            if ticket is None:
                # The queued events may have been withdrawn instead of sent.
                self.note_clear()
                if not self._lingers:
                    return
                await self._rest()
                continue
            event = ticket.event
            self.in_flight = ticket
            try:
                if event is None or not (
                    ticket.is_message
                    or await prepare(event, self._lifecycle, self._transport, self._backend)
                ):
                    ticket.finish()
                else:
                    await self._transmit(ticket, self._raw_send(event))
            finally:
                self.in_flight = None
            if self.has_turn:
                return  # the next event gets a turn of its own

    def _raw_send(self, event: Outgoing) -> Awaitable[None]:
        raw_send = self._transport.send(event)
        # In a turn the shared task lets other tasks run, so the checkpoints of the server are not
        # needed.
        return past_checkpoints(raw_send) if self.has_turn else raw_send

    @property
    def _lingers(self) -> bool:
        """Return whether to wait for more events, because a new start of the task costs more."""
        if self._wire.held or self._wire.sending or self._outbox.queue:
            return True
        is_open = self._lifecycle.states.state is State.OPEN and not self._lifecycle.over
        return is_open and self._idle_looks < LINGER_LOOKS

    async def _rest(self) -> None:
        if self._queued is None:
            self._queued = self._backend.wakeup()
        if not self._is_watched:
            self._is_watched = True
            self._backend.timer.watch(self._check_idle)
        await self._queued.wait()

    async def _transmit(self, ticket: SendTicket, raw_send: Awaitable[None]) -> None:
        wire = self._wire
        if not wire.sending:
            self.note_start()
        wire.control.make_room()
        try:
            try:
                await raw_send
            except Exception as exc:  # noqa: BLE001 - `_refused` sorts them
                wire.sending = False
                self._observers.send_failed(exc)
                await self._refused(ticket, exc)
            else:
                wire.sending = False
                if not ticket.done:
                    self._taken(ticket)
        except BaseException as exc:
            wire.sending = False
            self._interrupted(ticket, exc)
            raise
        finally:
            self.in_flight = None
            self.wake_block()

    def note_start(self) -> None:
        """Note that a raw send of the sender task is in flight."""
        self._wire.sending = True
        self._wire.clear = False
        if not self._wire.in_place:  # else callers send the next messages in place
            self._idle_looks = 0
        if self._options.send_timeout is not None:
            self.deadline = self._backend.now() + self._options.send_timeout
            if self._deadline_alarm is None:
                self._deadline_alarm = self._backend.timer.at(self.deadline, self._check_deadline)

    def note_clear(self) -> None:
        """No raw send is in flight: note whether the next caller may send in place."""
        wire = self._wire
        wire.clear = (
            wire.in_place
            and not self._outbox.queue
            and not wire.held
            and self._lifecycle.states.state is State.OPEN
            and not self._lifecycle.over
        )

    def _taken(self, ticket: SendTicket) -> None:
        event = ticket.event
        if isinstance(event, (str, bytes)):
            self.messages += 1
            self.bytes += ticket.size
            if self._observers.messages:
                self._observers.message_sent(event, ticket.size)
            ticket.finish()
            self.note_clear()
            return
        if isinstance(event, Accept):
            self._lifecycle.on_accepted(event.subprotocol)
        ticket.finish()
        if isinstance(event, Close | Reject):
            self._lifecycle.on_close_taken()

    async def _refused(self, ticket: SendTicket, exc: Exception) -> None:
        """Handle an exception of the raw send: the peer is gone, or the event was refused."""
        lifecycle = self._lifecycle
        if await self.peer_is_gone(exc) or ticket.done:
            return
        if isinstance(ticket.event, Close):
            # Do not raise, because no call can react to a close that the server does not take.
            ConnectionLog(self._transport.scope).debug("the server refused the close: %r", exc)
            lifecycle.close_is_done()
        else:
            if isinstance(ticket.event, Accept):
                # Deny the handshake, because Hypercorn's trio worker crashes if it stays
                # unanswered.
                lifecycle.begin_close(CloseCode.INTERNAL_ERROR, "")
            if ticket.waiter is None:
                lifecycle.fail(Raiser.CONNECTION, exc)
            else:
                ticket.finish(exc)
            self.note_clear()

    def _interrupted(self, ticket: SendTicket, exc: BaseException) -> None:
        """Handle a raw send that was cancelled with the connection, or ended by an interrupt."""
        is_foreign = isinstance(exc, anyio.get_cancelled_exc_class()) and not self.is_stopped
        if is_foreign and ticket.caller is not None:
            # The server or a middleware has cancelled it, so the cancellation goes to the caller.
            self._lifecycle.tasks.notify(ticket.caller)
            ticket.finish(exc)
        self._lifecycle.end_abnormally(None)

    async def peer_is_gone(self, exc: Exception) -> bool:
        """Return whether a failed raw send means that the peer is gone; see `raw_failure`."""
        return await peer_is_gone(
            exc, self._lifecycle, self._transport, self._backend, strict=self._options.strict
        )

    def ended(self, error: BaseException | None) -> None:
        """A task that sent for this connection has ended, with this error if there was one."""
        self.service = None
        self._outbox.shrink()
        self._lifecycle.service_ended(error)
        if self._suspended is not None:
            # The task was cancelled before its first step, so no code finishes that raw send.
            self._suspended = self.in_flight = None
            self._wire.sending = False
        self.wake_block()
        if self.has_more:
            self.wake()

    def _check_deadline(self) -> None:
        """Check the raw send in flight. One alarm serves all, because most are done long before."""
        self._deadline_alarm = None
        if not (self._wire.sending and self.deadline):
            return
        if self._backend.now() < self.deadline:
            self._deadline_alarm = self._backend.timer.at(self.deadline, self._check_deadline)
            return
        timeout = self._options.send_timeout
        self._lifecycle.end_abnormally(
            TimeoutError(f"the server took no message within {timeout} s")
        )
        self._transport.abort()

    def _check_idle(self) -> bool:
        """Let an idle sender task end."""
        if self.service is not None and self._idle_looks < LINGER_LOOKS:
            self._idle_looks += 1
            if self._idle_looks < LINGER_LOOKS:
                return True
            assert self._queued is not None  # the task waits for it
            self._queued.wake()
        self._is_watched = False
        return False

    def wake_block(self) -> None:
        """No raw send is in flight: wake a block that waits for that."""
        if self.returned is not None:
            self.returned.wake()

    # ------------------------------------------------------------------------ leaving the block

    def stop(self) -> None:
        """Cancel the task, and the raw send in flight if the server allows it."""
        self.is_stopped = True
        if self.service is not None:
            self.service.cancel()

    async def stopped(self) -> None:
        """Wait until the abandoned raw send has returned, and log it if that takes long.

        The block waits for it, because no task may be left behind. It can be called again after a
        native cancellation.
        """
        while self.service is not None or self._wire.sending:
            if self.returned is None:
                self.returned = self._backend.wakeup()
                at = self._backend.now() + STUCK_SECONDS
                self._stuck_alarm = self._backend.timer.at(at, self._free_raw_send)
            await self.returned.wait()

    def _free_raw_send(self) -> None:
        if not self._transport.abort():
            ConnectionLog(self._transport.scope).warning(
                "the server's send() is stuck and cannot be cancelled, so the block of this "
                "WebSocket cannot exit yet; see the page on servers for what frees it"
            )

    def release(self) -> None:
        """The block has been left."""
        self._backend.timer.unwatch(self._check_idle)
        for alarm in (self._deadline_alarm, self._stuck_alarm):
            if alarm is not None:
                alarm.cancel()
        self._deadline_alarm = self._stuck_alarm = None
