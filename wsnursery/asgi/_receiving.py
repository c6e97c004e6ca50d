"""Receiving in place: the application's task itself awaits the server's ``receive``.

That saves a switch of tasks, and on asyncio a turn of the loop, for every message. It is safe on
servers whose ``receive`` loses nothing when it is cancelled. While no task of the application
reads, the receiver task does.

The first lines of `next_message` decide for each call which task receives.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from threading import get_ident
from typing import Any, Generic, TypeAlias, TypeVar

from wsnursery._backend.backend import Backend
from wsnursery._backend.queues import AsyncioQueue, TrioQueue
from wsnursery._engine.aftercare import Aftercare
from wsnursery._engine.events import Close, Disconnect, Incoming
from wsnursery._engine.inbox import Inbox
from wsnursery._engine.incoming import IncomingSide
from wsnursery._engine.lifecycle import End, Lifecycle
from wsnursery._engine.observers import Observers
from wsnursery._engine.payload import size_of
from wsnursery._engine.states import State
from wsnursery._engine.transport import Transport
from wsnursery._engine.user_task import ENCLOSING, UserTask
from wsnursery._engine.wire import BUDGET
from wsnursery._errors import RemoteProtocolError
from wsnursery._options import Options
from wsnursery._types import Message

Parse: TypeAlias = Callable[[Any], Incoming | None]
"""Turns an ASGI event into an event of the engine; `None` if it is ignored."""

EventQueue = TypeVar("EventQueue", TrioQueue, AsyncioQueue)
"""A server's queue of events, from which a reader may receive in place."""


class InPlaceIncoming(IncomingSide, Generic[EventQueue]):
    """What both backends have in common.

    Args:
        queue: The server's own queue of events.
        parse: Turns an event of the server into one of the engine.
        lifecycle: As for `IncomingSide`, and so are the others.
        transport: As above.
        options: As above.
        observers: As above.
        backend: As above.
        inbox: As above.
    """

    __slots__ = (
        "_attended",
        "_is_plain",
        "_is_ready",
        "_known_reader",
        "_max_size",
        "_parse",
        "_queue",
        "_seen",
        "_thread",
    )

    def __init__(
        self,
        queue: EventQueue,
        parse: Parse,
        lifecycle: Lifecycle,
        transport: Transport,
        options: Options,
        observers: Observers,
        backend: Backend,
        inbox: Inbox,
    ) -> None:
        super().__init__(lifecycle, transport, options, observers, backend, inbox)
        # The server's queue is emptied after the block, so the receiver need not drain it.
        self.receiver.drains = False
        self._queue: EventQueue = queue
        self._parse = parse
        self._is_ready = False
        """A reader may receive in place, unless another task is reading: the connection is open,
        the inbox is empty, and there is no receiver task. It stays set during a raw receive in
        place."""
        self._known_reader: UserTask | None = None
        """The user's task that read last, which is usually the one that reads next."""
        self._is_plain = (
            not observers.messages and options.idle_timeout is None and self.arrivals.bucket is None
        )
        """Messages are only counted: no hook, idle timeout or rate limit needs to see each one."""
        self._max_size = options.max_message_size
        self._attended = False
        """The timer checks whether a reader comes back."""
        # A worker thread can run with a copy of the reader's context.
        self._thread = backend.home.thread
        self._seen = -1
        """The number of messages at the timer's last check."""

    def _plain_message(self, event: Any) -> str | None:
        """The text of an event that only needs to be counted; `None` for every other event.

        Nearly all messages are small and ASCII. This path avoids the calls that the others need.
        """
        text = event.get("text")
        # An ASCII text has as many bytes as characters, so its size costs nothing.
        if (
            type(text) is str
            and event["type"] == "websocket.receive"
            and text.isascii()
            and len(text) <= self._max_size
            and self._is_plain
            and self._is_ready
        ):
            arrivals = self.arrivals
            arrivals.messages += 1
            arrivals.bytes += len(text)
            return text
        return None

    async def _message_in(self, event: Any) -> Message | None:
        """The message in an event; `None` for every other event, which is handled here."""
        try:
            incoming = self._parse(event)
            if isinstance(incoming, (str, bytes)):
                return None if self.arrivals.on_message(incoming) is None else incoming
            if incoming is not None:
                await self.arrivals.on_signal(incoming)
        except RemoteProtocolError as exc:
            self.arrivals.protocol_violated(exc)
        return None

    def _receive_event(self) -> Coroutine[Any, Any, Any]:
        """Return the call that receives one event in the reader's own task."""
        raise NotImplementedError

    async def _receive_more(self) -> None:
        if self.receiver.service is not None:
            # Only one task may call `receive`, so the receiver task must end first.
            self.receiver.service.cancel()
            await super()._receive_more()
            return
        self._wire.receiving = True
        try:
            message = await self._message_in(await self._receive_event())
        except Exception as exc:  # noqa: BLE001 - `_call_failed` sorts them
            self._call_failed(exc)
        else:
            if message is not None:
                self.inbox.put(message, size_of(message))
        finally:
            self._wire.receiving = False

    def _call_failed(self, exc: Exception) -> None:
        """Handle an exception of the raw receive, which was interrupted or failed."""
        # The end of the connection interrupts a reader by this exception; it is not a failure.
        if not (isinstance(exc, self._queue.interrupted) and self._lifecycle.over):
            self.arrivals.receive_failed(exc)

    # ------------------------------------------------------------------ waiting for the next reader

    def _reader_left(self, reader: UserTask) -> None:
        """Let the timer check whether a reader comes back. Otherwise no task would receive."""
        self._known_reader = reader
        if not self._attended and not self.arrivals.disconnected and not self._lifecycle.left:
            self._attend()

    async def _next(self, *, iterating: bool) -> Message:
        """Return a message by the general way, and note whether the next may come in place."""
        message = await super().next_message(iterating)
        self._is_ready = (
            self.receiver.service is None
            and not self.inbox.messages
            and self._lifecycle.states.state is State.OPEN
            and not self._lifecycle.over
        )
        return message

    def _attend(self) -> None:
        self._attended = True
        self._seen = -1
        self._backend.timer.watch(self._look)

    def _look(self) -> bool:
        """Start the receiver task if no reader has come back since the last look."""
        # Without a message and without a reader since the last check, the receiver task takes over.
        # While messages come, readers come back for them by themselves.
        is_idle = self._seen == self.arrivals.messages
        self._seen = self.arrivals.messages
        is_needed = (
            self._reader is None and self.receiver.service is None and not self._lifecycle.left
        )
        if is_needed and not is_idle:
            return True
        self._attended = False
        if is_needed:
            self._is_ready = False
            self.receiver.start()
        return False

    # ---------------------------------------------------------------- the close, the end, the exit

    def _interrupt_reader(self) -> None:
        # This comes with the close or the end, after which no task receives in place.
        self._queue.close()
        super()._interrupt_reader()

    def look_for_disconnect(self) -> None:
        """As `ReceiveControl.look_for_disconnect`: the event may be in the server's queue."""
        if self._wire.receiving or self.receiver.has_message_in_hand:
            # The task inside the raw receive is about to get the event itself, and what is in the
            # queue comes after a message that the receiver task holds.
            return
        while not self.arrivals.disconnected and (event := self._queue.take()) is not None:
            try:
                incoming = self._parse(event)
                if isinstance(incoming, Disconnect):
                    self.arrivals.disconnected = True
                    self._lifecycle.on_disconnect(
                        incoming.code, incoming.reason, self._wire.pending_error
                    )
                elif isinstance(incoming, (str, bytes)):
                    # The inbox can exceed its limit here, by at most the server's queue.
                    size = self.arrivals.on_message(incoming)
                    if size is not None:
                        self._is_ready = False
                        self.inbox.put(incoming, size)
            except RemoteProtocolError as exc:
                self.arrivals.protocol_violated(exc)

    def on_closing(self, close: Close | None) -> None:
        """As `Listener.on_closing`."""
        self._is_ready = False
        super().on_closing(close)

    def on_end(self, end: End, close: Close | None) -> None:
        """As `Listener.on_end`."""
        self._is_ready = False
        super().on_end(end, close)

    def release(self) -> None:
        """As `IncomingSide.release`."""
        super().release()
        # The timer and the reader would keep this connection, and the handler's frame, alive.
        self._known_reader = None
        self._backend.timer.unwatch(self._look)
        if self._queue.needs_aftercare:
            Aftercare(self._queue.take, self._backend)
        self._queue.close()


class TrioIncoming(InPlaceIncoming[TrioQueue]):
    """On trio: awaits the raw receive unchanged, because it is a checkpoint already."""

    __slots__ = ()

    async def next_message(self, iterating: bool) -> Message:
        """As `IncomingSide.next_message`."""
        wire, reader, enclosing = self._wire, self._known_reader, ENCLOSING.get()
        is_free = self._is_ready and self._reader is None
        # In place only for the task that read last, because it needs no registration.
        if (
            not is_free
            or reader is None
            or not enclosing
            or enclosing[-1] is not reader
            or get_ident() != self._thread
        ):
            return await self._next(iterating=iterating)
        # No other task may receive before this call is over.
        wire.receiving = True
        self._reader, self._reader_notified = reader, False
        message: Message | None = None
        try:
            event = await self._queue.receive()
            message = self._plain_message(event)
            if message is None:
                message = await self._message_in(event)
        except Exception as exc:  # noqa: BLE001 - `_call_failed` sorts them
            self._call_failed(exc)
        except BaseException:
            # The reader leaves by a cancellation, so it does not see that the connection has ended.
            if self._reader_notified:
                self._lifecycle.tasks.retract(reader)
            raise
        finally:
            wire.receiving = False
            self._reader = None
            # With both set, as nearly always, there is nothing to do.
            if not (self._is_ready and self._attended):
                self._reader_left(reader)
        if message is not None:
            return message
        if self._reader_notified:
            # The call below will raise that the connection has ended, which notifies the reader.
            reader.retract()
        return await self._next(iterating=iterating)

    def _receive_event(self) -> Coroutine[Any, Any, Any]:
        return self._queue.receive()


class AsyncioIncoming(InPlaceIncoming[AsyncioQueue]):
    """On asyncio: takes an event that has arrived, or awaits the raw receive unchanged.

    Only a call that waits lets other tasks run, so `Wire.budget` limits how many others may follow
    each other.
    """

    __slots__ = ()

    async def next_message(self, iterating: bool) -> Message:
        """As `IncomingSide.next_message`."""
        wire, reader, enclosing = self._wire, self._known_reader, ENCLOSING.get()
        is_free = self._is_ready and self._reader is None
        # In place only for the task that read last, because it needs no registration.
        if (
            not is_free
            or reader is None
            or not enclosing
            or enclosing[-1] is not reader
            or get_ident() != self._thread
        ):
            return await self._next(iterating=iterating)
        event: Any = None
        if wire.budget > 0 and self._attended and not self._queue.is_empty():
            # The raw receive does not wait for this event. So no other code can run before it has
            # ended, and nothing needs to be noted for it.
            wire.budget -= 1
            try:
                event = await self._queue.receive()
                message = self._plain_message(event)
            except Exception as exc:  # noqa: BLE001 - `_call_failed` sorts them
                event = None
                self._call_failed(exc)
            else:
                if message is not None:
                    return message
        return await self._receive_in_place(event, reader, iterating=iterating)

    async def _receive_in_place(self, event: Any, reader: UserTask, *, iterating: bool) -> Message:
        """Return a message by a call during which other tasks can run.

        Args:
            event: An event that was received but not handled, or `None`.
            reader: The user's task that reads.
            iterating: As for `next_message`.
        """
        wire = self._wire
        message: Message | None = None
        # No other task may receive before this call is over.
        self._reader, self._reader_notified = reader, False
        try:
            if event is None and wire.budget <= 0 and not self._queue.is_empty():
                await self._let_others_run()
            # If another task has closed the connection meanwhile, only the general way can follow.
            if event is None and self._is_ready:
                wire.receiving = True
                event = await self._receive_event()
                message = self._plain_message(event)
            if event is not None and message is None:
                message = await self._message_in(event)
        except Exception as exc:  # noqa: BLE001 - `_call_failed` sorts them
            self._call_failed(exc)
        except BaseException:
            # The reader leaves by a cancellation, so it does not see that the connection has ended.
            if self._reader_notified:
                self._lifecycle.tasks.retract(reader)
            raise
        finally:
            wire.receiving = False
            self._reader = None
            # With both set, as nearly always, there is nothing to do.
            if not (self._is_ready and self._attended):
                self._reader_left(reader)
        if message is not None:
            return message
        if self._reader_notified:
            # The call below will raise that the connection has ended, which notifies the reader.
            reader.retract()
        return await self._next(iterating=iterating)

    def _receive_event(self) -> Coroutine[Any, Any, Any]:
        if self._queue.is_empty():
            # This call waits, so other tasks run in the meantime.
            self._wire.budget = BUDGET
            return self._queue.wait()
        self._wire.budget -= 1
        return self._queue.receive()
