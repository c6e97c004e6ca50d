"""Sending in place: the application's task itself calls the server's ``send``.

That saves two switches of tasks for every message. On trio it is safe if a cancellation of the
caller cannot interrupt the raw send and the peer cannot delay it. On asyncio it is safe because a
raw send that has to wait can be continued by the sender task.

A room needs no sender task for a member whose server takes the message at once. On asyncio the call
that publishes makes the first step of each raw send. On trio a raw send must end in the task that
has begun it, so a task of the room makes the steps; see `SharedSender`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeAlias

from wsnursery._backend.backend import Backend
from wsnursery._backend.steps import SuspendedSend
from wsnursery._engine.events import Close
from wsnursery._engine.lifecycle import End, Lifecycle
from wsnursery._engine.observers import Observers
from wsnursery._engine.outbox import SendTicket
from wsnursery._engine.outgoing import OutgoingSide
from wsnursery._engine.sender import STUCK_SECONDS
from wsnursery._engine.shared_sender import SharedSender
from wsnursery._engine.transport import Transport
from wsnursery._engine.wire import BUDGET
from wsnursery._options import Options
from wsnursery._types import Message

if TYPE_CHECKING:
    from wsnursery._backend.timer import Alarm

RawSend: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]


class InPlaceOutgoing(OutgoingSide):
    """What both backends have in common.

    Args:
        send: The server's own send.
        lifecycle: As for `OutgoingSide`, and so are the others.
        transport: As above.
        options: As above.
        observers: As above.
        backend: As above.
    """

    __slots__ = ("_is_plain", "_send", "_thread")

    def __init__(
        self,
        send: RawSend,
        lifecycle: Lifecycle,
        transport: Transport,
        options: Options,
        observers: Observers,
        backend: Backend,
    ) -> None:
        super().__init__(lifecycle, transport, options, observers, backend)
        self._wire.in_place = True
        self._send: RawSend = send
        # A send from another thread must not run the server's code there.
        self._thread: int = backend.home.thread
        self._is_plain = not observers.messages
        """Messages are only counted, because no hook sees them."""

    def _after_send(self, message: Message, size: int) -> None:
        """Count a message that the server has taken in place, and continue."""
        sender = self.sender
        self._wire.sending = False
        sender.messages += 1
        sender.bytes += size
        if self._observers.messages:
            self._observers.message_sent(message, size)
        # Messages that were queued meanwhile are older than the next call, so they go first.
        if not self._wire.clear:
            self._go_on()

    def _go_on(self) -> None:
        """Continue after a raw send: with a block that waits for it, then with the queue."""
        sender = self.sender
        sender.wake_block()
        if self.outbox.queue:
            sender.wake()
        else:
            sender.note_clear()

    def _raw_send_was_interrupted(self) -> None:
        """End the connection after a raw send that was interrupted or cancelled.

        It is not known how much of the frame was sent, so nothing may follow it.
        """
        self._wire.sending = False
        self._lifecycle.end_abnormally(None)
        self._go_on()

    async def _send_failed(self, exc: Exception, message: Message, size: int) -> None:
        """Raise what a failed raw send of the calling task means.

        It must not be called in an ``except`` block of this library. The exception that is raised
        here then has the error as its context that the application is handling, if there is one.
        """
        # While this is set, an end of the connection counts the message as undelivered.
        ticket = self.sender.in_flight = SendTicket(message, size)
        ticket.caller = self._lifecycle.tasks.current()
        self._observers.send_failed(exc)
        try:
            gone = await self.sender.peer_is_gone(exc)
        finally:
            self._wire.sending = False
            self.sender.in_flight = None
            self._go_on()
        if gone:
            self._retract(ticket)
            raise self._lifecycle.closed_error()
        raise exc


class TrioOutgoing(InPlaceOutgoing):
    """On trio: awaits the raw send unchanged, because it is a checkpoint already."""

    __slots__ = (
        "_checkpoint_if_cancelled",
        "_free_alarm",
        "_is_ready",
        "_send_watched",
        "_transport",
    )

    def __init__(
        self,
        send: RawSend,
        is_ready: Callable[[int], bool],
        lifecycle: Lifecycle,
        transport: Transport,
        options: Options,
        observers: Observers,
        backend: Backend,
    ) -> None:
        super().__init__(send, lifecycle, transport, options, observers, backend)
        self._transport = transport
        self._is_ready = is_ready
        """Whether a raw send of this many bytes can be neither interrupted nor delayed."""
        self._checkpoint_if_cancelled = backend.checkpoint_if_cancelled
        self._send_watched = False
        """The timer checks how long the raw sends of callers take."""
        self._free_alarm: Alarm | None = None
        """Drops the connection if a caller is still in its raw send some time after the end."""

    async def send(self, message: Any) -> None:
        """As `OutgoingSide.send`."""
        wire = self._wire
        if type(message) is str and message.isascii():
            size = len(message)
            event = {"type": "websocket.send", "text": message}
        else:
            message, size = await self._sized(message)
            event = event_of(message)
        if get_ident() != self._thread:
            self._lifecycle.check_place()
        # A cancelled caller must not send any more, and the raw send below may be shielded.
        await self._checkpoint_if_cancelled()
        if wire.sending or not (wire.clear and self._is_ready(size)):
            await self._send_through_task(message, size)
            return
        self.sender.deadline = 0.0
        if not self._send_watched:
            self._send_watched = True
            self._backend.timer.watch(self._look_at_send)
        # Set before the first step, because the server may call code that uses this connection.
        wire.sending = True
        failure: Exception | None = None
        try:
            await self._send(event)
        except Exception as exc:  # noqa: BLE001 - `_send_failed` sorts them
            failure = exc
        except BaseException:
            self._raw_send_was_interrupted()
            raise
        # Outside of the `except` block, as `_send_failed` asks.
        if failure is not None:
            await self._send_failed(failure, message, size)
        self._after_send(message, size)

    def _look_at_send(self) -> bool:
        """Apply the send timeout to a raw send in place, from the first check that sees it."""
        if not self._wire.sending:
            self._send_watched = False
            return False
        if self.sender.service is None and not self.sender.deadline:
            self.sender.note_start()
            # To a peer that has reset, the server's send waits until the receiver has taken more.
            self._wire.control.make_room()
        return True

    def deliver(self, message: Message, size: int, tag: object, shared: SharedSender) -> bool:
        """As `OutgoingSide.deliver`."""
        if self._wire.clear and not self._wire.sending and self.outbox.has_room(size):
            # Before the message is queued, because queueing would start the sender task.
            shared.add(self.sender, self._backend)
        return self.offer(message, size, tag)

    def on_end(self, end: End, close: Close | None) -> None:
        """As `Listener.on_end`. Also end a raw send in place, which cannot be cancelled."""
        super().on_end(end, close)
        if self._wire.sending and self.sender.service is None and self._free_alarm is None:
            at = self._backend.now() + STUCK_SECONDS
            self._free_alarm = self._backend.timer.at(at, self._free_caller)

    def _free_caller(self) -> None:
        if self._wire.sending:
            self._transport.abort()

    def release(self) -> None:
        """As `OutgoingSide.release`."""
        super().release()
        # The timer would keep this connection alive.
        self._backend.timer.unwatch(self._look_at_send)
        if self._free_alarm is not None:
            self._free_alarm.cancel()


class AsyncioOutgoing(InPlaceOutgoing):
    """On asyncio: makes the first step of a raw send in place. Most have only that step."""

    __slots__ = ()

    async def send(self, message: Any) -> None:
        """As `OutgoingSide.send`."""
        wire = self._wire
        if type(message) is str and message.isascii():
            size = len(message)
            event = {"type": "websocket.send", "text": message}
        else:
            message, size = await self._sized(message)
            event = event_of(message)
        if get_ident() != self._thread:
            self._lifecycle.check_place()
        is_free = wire.clear and not wire.sending
        if not is_free:
            await self._send_through_task(message, size)
            return
        # Set before the first step, because the server may call code that uses this connection.
        wire.sending = True
        ticket: SendTicket | None = None
        failure: Exception | None = None
        # Making the first step by hand shows whether the raw send has to wait.
        steps = self._send(event)
        try:
            # A loop, because `steps.send` would raise an exception where there is only one step.
            for awaited in steps.__await__():
                # The sender task makes the other steps, because a cancellation of this caller must
                # not interrupt a frame that has begun.
                ticket = SendTicket(message, size)
                self.sender.take_over(ticket, SuspendedSend(steps, awaited))
                break
        except Exception as exc:  # noqa: BLE001 - `_send_failed` sorts them
            failure = exc
        except BaseException:
            self._raw_send_was_interrupted()
            raise
        if ticket is not None:
            await self._delivered(ticket)
            return
        if failure is not None:
            await self._send_failed(failure, message, size)
        if wire.clear and self._is_plain:
            # As `_after_send`, without a call.
            wire.sending = False
            sender = self.sender
            sender.messages += 1
            sender.bytes += size
        else:
            self._after_send(message, size)
        # The server has taken the message without a checkpoint. The budget limits how many such
        # calls may follow each other.
        wire.budget -= 1
        if wire.budget <= 0:
            # Other tasks would starve if every send ended in its first step.
            wire.budget = BUDGET
            await self._backend.checkpoint()

    def deliver(self, message: Message, size: int, tag: object, shared: SharedSender) -> bool:
        """As `OutgoingSide.deliver`."""
        wire = self._wire
        if wire.sending or not wire.clear:
            return self.offer(message, size, tag)
        # Set before the first step, as in `send`.
        wire.sending = True
        steps = self._send(event_of(message))
        try:
            for awaited in steps.__await__():
                self.sender.take_over(SendTicket(message, size), SuspendedSend(steps, awaited))
                return True
        except Exception as exc:  # noqa: BLE001 - the sender task decides what it means
            self.sender.take_over(SendTicket(message, size), _raise(exc))
            return True
        except BaseException:
            self._raw_send_was_interrupted()
            raise
        self._after_send(message, size)
        return True


async def _raise(exc: Exception) -> None:
    raise exc


def event_of(message: Message) -> dict[str, Any]:
    """Return the ASGI event that sends a message."""
    if isinstance(message, str):
        return {"type": "websocket.send", "text": message}
    return {"type": "websocket.send", "bytes": message}
