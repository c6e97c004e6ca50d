"""Sending in place: a caller is itself inside the server's ``send``.

That saves two switches of tasks for every message. It is possible where the raw send can be neither
cut by a cancellation of its caller nor made to wait by the peer (trio), or where a raw send that
waits can go on in the sender task (asyncio).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeAlias

from wsnursery._backend.backend import Backend
from wsnursery._backend.steps import SuspendedSend
from wsnursery._engine.events import Close
from wsnursery._engine.lifecycle import End, Lifecycle
from wsnursery._engine.observers import Observers
from wsnursery._engine.outbox import SendTicket
from wsnursery._engine.outgoing import STUCK_SECONDS, OutgoingSide
from wsnursery._engine.states import State
from wsnursery._engine.transport import Transport
from wsnursery._engine.wire import BUDGET
from wsnursery._options import Options
from wsnursery._types import Message

if TYPE_CHECKING:
    from wsnursery._backend.timer import Alarm

RawSend: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]


class InPlaceOutgoing(OutgoingSide):
    """What is common to both backends.

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
        self._send: RawSend = send
        self._thread: int = get_ident()
        self._is_plain = not observers.messages
        """A message needs nothing but to be counted."""

    @property
    def _lingers(self) -> bool:
        """Callers send themselves: the task stays only for what is there."""
        return self._wire.held or self._wire.sending or bool(self.outbox.queue)

    def _note_clear(self) -> None:
        """Nothing is in flight: if nothing waits either, callers may send themselves."""
        self._wire.clear = (
            not self.outbox.queue
            and not self._wire.held
            and self._lifecycle.states.state is State.OPEN
            and not self._lifecycle.over
        )

    def _after_send(self, message: Message, size: int) -> None:
        """A raw send in place has ended: the server has taken the message."""
        self._wire.sending = False
        self.messages += 1
        self.bytes += size
        if self._observers.messages:
            self._observers.message_sent(message, size)
        if self.outbox.queue or self._stopped is not None or self._lifecycle.over:
            self._go_on()
        else:
            self._wire.clear = not self._wire.held

    def _go_on(self) -> None:
        """No raw send is under way: the queue goes on, or the next message may go in place."""
        if self._stopped is not None:
            self._stopped.wake()
        if self.outbox.queue:
            self._wake_sender()
        else:
            self._note_clear()

    def _raw_call_was_cut(self) -> None:
        """A raw send ended by an interrupt or a cancellation: what the peer got is not known."""
        self._wire.sending = False
        self._lifecycle.break_off(None)

    async def _send_failed(self, exc: Exception, message: Message, size: int) -> None:
        """The raw send of the calling task has raised: raise what that means.

        Not called where the failure is being handled: what is raised here has the application's own
        error as its context, if the application is handling one.
        """
        lifecycle, gone = self._lifecycle, isinstance(exc, OSError)
        # The end counts it with what is queued.
        ticket = self._in_flight = SendTicket(message, size)
        ticket.caller = lifecycle.tasks.current()
        self._observers.send_failed(exc)
        try:
            gone = await self._means_gone(exc)
        finally:
            # Also when the caller is cancelled while it is not clear what the failure means.
            self._wire.sending = False
            if gone:
                lifecycle.break_off(exc)
            self._in_flight = None
            if not gone:
                self._go_on()
        if gone:
            raise lifecycle.closed_error()
        raise exc


class TrioOutgoing(InPlaceOutgoing):
    """On trio the raw send is awaited as it is: it is a checkpoint."""

    __slots__ = ("_checkpoint_if_cancelled", "_free_alarm", "_is_ready", "_send_watched")

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
        self._is_ready = is_ready
        """Whether a raw send of so many bytes can be neither cut nor made to wait by the peer."""
        self._checkpoint_if_cancelled = backend.checkpoint_if_cancelled
        self._send_watched = False
        """The timer looks after the raw sends of callers."""
        self._free_alarm: Alarm | None = None
        """Drops the connection when a caller does not come back after the end."""

    async def send(self, message: Any) -> None:
        """As `OutgoingSide.send`."""
        wire = self._wire
        if type(message) is str and message.isascii():
            size = len(message)
            event = {"type": "websocket.send", "text": message}
        else:
            message, size = await self._sized(message)
            event = event_of(message)
        await self._checkpoint_if_cancelled()
        if not (wire.clear and get_ident() == self._thread and self._is_ready(size)):
            await self._send_through_task(message, size)
            return
        self._late = 0.0
        if not self._send_watched:
            self._send_watched = True
            self._backend.timer.watch(self._look_at_send)
        # Before the first step, because what the server does may lead back to this connection.
        wire.clear, wire.sending = False, True
        failure: Exception | None = None
        try:
            await self._send(event)
        except Exception as exc:  # noqa: BLE001 - `_send_failed` sorts them
            failure = exc
        except BaseException:
            self._raw_call_was_cut()
            raise
        if failure is not None:
            await self._send_failed(failure, message, size)
        self._after_send(message, size)

    def _look_at_send(self) -> bool:
        """Give a raw send in place its time: it is measured from the first look that meets it."""
        if not self._wire.sending:
            self._send_watched = False
            return False
        if self._service is None and not self._late:
            self._note_start()
        return True

    def on_end(self, end: End, close: Close | None) -> None:
        """As `Listener.on_end`: free a caller that is in a raw send that nothing can cancel."""
        super().on_end(end, close)
        if self._wire.sending and self._service is None and self._free_alarm is None:
            at = self._backend.now() + STUCK_SECONDS
            self._free_alarm = self._backend.timer.at(at, self._free_caller)

    def _free_caller(self) -> None:
        if self._wire.sending:
            self._transport.abort()

    def release(self) -> None:
        """As `OutgoingSide.release`."""
        super().release()
        self._backend.timer.unwatch(self._look_at_send)
        if self._free_alarm is not None:
            self._free_alarm.cancel()


class AsyncioOutgoing(InPlaceOutgoing):
    """On asyncio the first step of a raw send is taken in place; most have no other."""

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
        if not (wire.clear and get_ident() == self._thread):
            await self._send_through_task(message, size)
            return
        # Before the first step, because what the server does may lead back to this connection.
        wire.clear, wire.sending = False, True
        steps = self._send(event)
        try:
            awaited = steps.send(None)
        except StopIteration:
            wire.budget -= 1
            if wire.budget > 0 and self._is_plain and not self.outbox.queue:
                wire.clear, wire.sending = not self._lifecycle.over, False
                self.messages += 1
                self.bytes += size
                return
            failure = None
        except Exception as exc:  # noqa: BLE001 - `_send_failed` sorts them
            failure = exc
        except BaseException:
            self._raw_call_was_cut()
            raise
        else:
            rest = SuspendedSend(steps, awaited)
            await self._delivered(self._finish_in_task(message, size, rest))
            return
        if failure is not None:
            await self._send_failed(failure, message, size)
        self._after_send(message, size)
        if wire.budget <= 0:
            wire.budget = BUDGET
            await self._backend.checkpoint()

    def _finish_in_task(self, message: Message, size: int, rest: Awaitable[None]) -> SendTicket:
        ticket = self._in_flight = SendTicket(message, size)
        self._begun = rest
        self._note_start()
        self._wake_sender()
        return ticket

    def begin(self, message: Message, size: int) -> bool:
        """As `OutgoingSide.begin`."""
        wire = self._wire
        if not wire.clear:
            return False
        wire.clear, wire.sending = False, True
        steps = self._send(event_of(message))
        try:
            awaited = steps.send(None)
        except StopIteration:
            self._after_send(message, size)
        except Exception as exc:  # noqa: BLE001 - the sender task finds out what it means
            self._finish_in_task(message, size, _raise(exc))
        except BaseException:
            self._raw_call_was_cut()
            raise
        else:
            self._finish_in_task(message, size, SuspendedSend(steps, awaited))
        return True


async def _raise(exc: Exception) -> None:
    raise exc


def event_of(message: Message) -> dict[str, Any]:
    """A message as ASGI has it."""
    if isinstance(message, str):
        return {"type": "websocket.send", "text": message}
    return {"type": "websocket.send", "bytes": message}
