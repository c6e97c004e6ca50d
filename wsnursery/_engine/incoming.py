"""The incoming side: which task is inside the server's ``receive``, a reader or the receiver task.

Where a cancelled raw receive loses nothing, the reader itself receives, which saves a task switch
for every message. Everywhere else, and while no task reads, the receiver task receives.
"""

from __future__ import annotations

from threading import get_ident

import anyio

from wsnursery._backend.backend import Backend
from wsnursery._options import Options
from wsnursery._types import Message

from .arrivals import Arrivals
from .events import Close
from .idle_timeout import IdleTimeout
from .inbox import Inbox
from .lifecycle import End, Lifecycle, second_reader
from .observers import Observers
from .receiver import Receiver
from .states import State, Transition
from .transport import Transport
from .user_task import UserTask
from .wire import BUDGET


class IncomingSide:
    """Receives from the server, and returns messages to the reader.

    Args:
        lifecycle: Notified of the disconnect.
        transport: The server, for the receiver task.
        options: The limits.
        observers: Notified of messages.
        backend: The event loop.
        inbox: Where messages wait for a reader.
    """

    __slots__ = (
        "_backend",
        "_lifecycle",
        "_observers",
        "_on_trio",
        "_options",
        "_reader",
        "_reader_notified",
        "_wire",
        "arrivals",
        "inbox",
        "receiver",
    )

    def __init__(
        self,
        lifecycle: Lifecycle,
        transport: Transport,
        options: Options,
        observers: Observers,
        backend: Backend,
        inbox: Inbox,
    ) -> None:
        self._lifecycle = lifecycle
        self._wire = lifecycle.wire
        self._options = options
        self._observers = observers
        self._backend = backend
        self._on_trio = backend.on_trio
        self.inbox: Inbox = inbox
        self.arrivals: Arrivals = Arrivals(lifecycle, transport, options, observers, backend)
        self.receiver: Receiver = Receiver(
            self.arrivals, lifecycle, transport, options, observers, backend, inbox
        )
        self._reader: UserTask | None = None
        """The user's task that waits for a message."""
        self._reader_notified = False
        lifecycle.wire.control = self

    # ------------------------------------------------------------------------------------ reading

    async def next_message(self, iterating: bool) -> Message:
        """Wait for the next message; an iteration stops after a clean end or your own close."""
        lifecycle, inbox = self._lifecycle, self.inbox
        # Only the thread is compared for each message, because the whole check would cost too much.
        # A thread has one event loop, except in trio's guest mode.
        if get_ident() != self._backend.home.thread:
            lifecycle.check_place()
        if self._reader is not None or lifecycle.over or lifecycle.states.state is not State.OPEN:
            await self._check_can_receive()
        reader = lifecycle.tasks.current()
        if not reader.reads:
            lifecycle.tasks.note_reader(reader)
        self._reader, self._reader_notified = reader, False
        try:
            if inbox.messages or lifecycle.over or self._wire.budget <= 0:
                await self._let_others_run()
            while not (inbox.messages or lifecycle.over):
                await self._receive_more()
        except BaseException:
            if self._reader_notified:
                lifecycle.tasks.retract(reader)
            raise
        finally:
            self._reader = None
            self._reader_left(reader)
        # Do not await anything from here to the return: a cancellation would lose the message.
        if inbox.messages:
            message = inbox.take()
            if self.receiver.filling is not None:
                self.receiver.filling.on_read()
            return message
        if iterating and not self._ended_abnormally:
            lifecycle.note_notified()
            raise StopAsyncIteration
        if self._reader_notified:
            reader.retract()  # this call itself notifies the reader now
        raise lifecycle.closed_error()

    def next_message_nowait(self) -> Message:
        """Return the next message if it has arrived."""
        lifecycle, inbox = self._lifecycle, self.inbox
        lifecycle.check_place()
        self._refuse_to_receive()
        reader = lifecycle.tasks.current()
        if not reader.reads:
            lifecycle.tasks.note_reader(reader)
        if not inbox.messages:
            self.look_for_disconnect()  # this also takes the messages in front of it
        self._reader_left(reader)
        if inbox.messages:
            message = inbox.take()
            if self.receiver.filling is not None:
                self.receiver.filling.on_read()
            return message
        if lifecycle.over:
            raise lifecycle.closed_error()
        raise anyio.WouldBlock("no message is waiting: use `await ws.receive()` to wait for one")

    async def _receive_more(self) -> None:
        """Wait until the receiver task puts something into the inbox."""
        wakeup = self.receiver.reader
        if wakeup is None:
            wakeup = self.receiver.reader = self._backend.wakeup()
        # This call waits, so other tasks run in the meantime.
        self._wire.budget = BUDGET
        await wakeup.wait()

    def _reader_left(self, reader: UserTask) -> None:
        """Note that a call that reads has ended."""

    @property
    def _ended_abnormally(self) -> bool:
        end = self._lifecycle.end
        return end is not None and end.abnormal and not self._lifecycle.own_close

    async def _check_can_receive(self) -> None:
        """Refuse an illegal read, after a checkpoint, so that a loop of reads cannot freeze."""
        lifecycle = self._lifecycle
        if lifecycle.over and not lifecycle.left and self._reader is None:
            return
        await self._backend.checkpoint()
        self._refuse_to_receive()

    def _refuse_to_receive(self) -> None:
        """Raise if a read is illegal now."""
        self._lifecycle.refuse_after_block()
        if self._reader is not None:
            raise second_reader()
        if not self._lifecycle.over:
            self._lifecycle.states.check(Transition.RECEIVE)

    async def _let_others_run(self) -> None:
        """Make every call a checkpoint on trio; on asyncio, every 16th call that need not wait."""
        wire = self._wire
        if self._on_trio or self._lifecycle.over or wire.budget <= 0:
            wire.budget = BUDGET
            await self._backend.checkpoint()
        else:
            wire.budget -= 1

    # ------------------------------------------------------------------- calls of the outgoing side

    @property
    def is_receiving(self) -> bool:
        """As `ReceiveControl.is_receiving`."""
        return self.receiver.service is not None

    def look_for_disconnect(self) -> None:
        """As `ReceiveControl.look_for_disconnect`: only the receiver task can find out."""

    def make_room(self) -> None:
        """As `ReceiveControl.make_room`."""
        if self.receiver.filling is not None:
            self.receiver.filling.look()

    def stop(self) -> None:
        """As `ReceiveControl.stop`."""
        self.receiver.stop()

    # ---------------------------------------------------------------- the close, the end, the exit

    def start(self) -> None:
        """Start the receiver task, because no task has read yet."""
        self.receiver.start()

    def on_accepted(self) -> None:
        """As `Listener.on_accepted`: from now on the peer may be idle for ``idle_timeout``."""
        timeout = self._options.idle_timeout
        if timeout is not None:
            self.arrivals.idle = IdleTimeout(
                timeout, self.receiver.is_held_up, self._lifecycle, self._backend
            )

    def on_closing(self, close: Close | None) -> None:
        """As `Listener.on_closing`: what arrives from now on is dropped."""
        self._forget_received()
        self._interrupt_reader()
        if self.receiver.filling is not None:
            self.receiver.filling.wake()
        self.receiver.start()

    def on_end(self, end: End, close: Close | None) -> None:
        """As `Listener.on_end`."""
        if end.abnormal and end is self._lifecycle.end:
            self._forget_received()
            if self._reader is not None:
                # After a clean end, a reader that is not notified keeps the other tasks alive.
                # So notify it here, before it is decided which tasks are cancelled.
                self._reader_notified = True
                self._lifecycle.tasks.notify(self._reader, provisionally=True)
        self._interrupt_reader()
        if self.receiver.filling is not None:
            self.receiver.filling.wake()
        self.receiver.wake_block()

    def _interrupt_reader(self) -> None:
        self.receiver.wake_reader()

    def _forget_received(self) -> None:
        """Drop unread messages."""
        self._observers.dropped("receive", len(self.inbox))
        self.inbox.clear()

    def release(self) -> None:
        """Release the server, after the block."""
        self._forget_received()
        if self.arrivals.idle is not None:
            self.arrivals.idle.release()
            self.arrivals.idle = None
        self.receiver.release()
