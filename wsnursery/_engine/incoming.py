"""The incoming side: who is inside the server's ``receive``, a reader itself or the receiver task.

A reader receives for itself where a cancelled raw receive loses nothing: that saves a switch of
tasks for every message. The receiver task does it on all other servers, for a connection that only
pushes, and whenever no reader has come back for a while, because on Hypercorn, granian and daphne a
send to a vanished peer never fails: only the disconnect event tells.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from wsnursery._backend.backend import Backend
from wsnursery._codes import CloseCode
from wsnursery._errors import RemoteProtocolError
from wsnursery._options import Options
from wsnursery._types import Message

from .aftercare import SILENCES, drain
from .events import Close, Connect, Disconnect
from .filling import Filling
from .inbox import Inbox
from .lifecycle import End, Lifecycle, second_reader
from .observers import Observers
from .outcome import Raiser
from .payload import size_of
from .service import ServiceTask
from .states import State, Transition
from .token_bucket import bucket_of
from .transport import Transport
from .user_task import UserTask
from .wire import BUDGET, CHECKPOINTS_OF_DOUBT

if TYPE_CHECKING:
    from wsnursery._backend.timer import Alarm
    from wsnursery._backend.wakeup import Wakeup

logger = logging.getLogger("wsnursery")


class IncomingSide:
    """Takes what the server delivers, and gives it to the reader.

    Args:
        lifecycle: Is told of the disconnect.
        transport: The server, for the receiver task.
        options: The limits.
        observers: Are told of messages.
        backend: The event loop.
        inbox: Where messages wait for a reader.
    """

    __slots__ = (
        "_backend",
        "_bucket",
        "_change",
        "_disconnected",
        "_drains",
        "_filling",
        "_heard_at",
        "_idle_alarm",
        "_in_hand",
        "_lifecycle",
        "_observers",
        "_on_trio",
        "_options",
        "_reader",
        "_reader_notified",
        "_service",
        "_taken",
        "_transport",
        "_wakeup",
        "_warned",
        "_wire",
        "bytes",
        "inbox",
        "messages",
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
        self._transport = transport
        self._drains = transport.drains
        self._options = options
        self._observers = observers
        self._backend = backend
        self._on_trio = backend.on_trio
        self.inbox: Inbox = inbox
        self.messages: int = 0
        self.bytes: int = 0
        self._reader: UserTask | None = None
        """The user's task that waits for a message."""
        self._reader_notified = False
        self._service: ServiceTask | None = None
        """The receiver task, while there is one."""
        self._filling: Filling | None = None
        """The receiver's wait for room in the inbox; made when the inbox is full."""
        self._in_hand = False
        """The receiver task holds a message for which the inbox has no room."""
        self._disconnected = False
        self._taken = 0
        """Events that the receiver task has taken from the server, also those it drops."""
        self._wakeup: Wakeup | None = None
        self._change: Wakeup | None = None
        """Wakes a reader that waits for the receiver task; made when one does."""
        self._warned = False
        self._bucket = bucket_of(options, backend.now)
        """How many messages the peer may still send at once, if that is limited."""
        self._heard_at = 0.0
        """When the peer was last heard, if it matters."""
        self._idle_alarm: Alarm | None = None
        lifecycle.wire.control = self

    # ------------------------------------------------------------------------------------ reading

    async def next_message(self, iterating: bool) -> Message:
        """Wait for the next message; an iteration stops after an orderly end or your own close."""
        lifecycle, inbox = self._lifecycle, self.inbox
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
        # From here to the return nothing may be awaited: a cancellation would lose the message.
        if inbox.messages:
            message = inbox.take()
            if self._filling is not None:
                self._filling.on_read()
            return message
        if iterating and not self._is_broken:
            lifecycle.note_notified()
            raise StopAsyncIteration
        if self._reader_notified:
            reader.retract()  # it says so itself now
        raise lifecycle.closed_error()

    def next_message_nowait(self) -> Message:
        """Take the next message if it has come in."""
        lifecycle, inbox = self._lifecycle, self.inbox
        self._refuse_to_receive()
        reader = lifecycle.tasks.current()
        if not reader.reads:
            lifecycle.tasks.note_reader(reader)
        if not inbox.messages:
            self.look_for_disconnect()  # and for the messages in front of it
        self._reader_left(reader)
        if inbox.messages:
            message = inbox.take()
            if self._filling is not None:
                self._filling.on_read()
            return message
        if lifecycle.over:
            raise lifecycle.closed_error()
        raise anyio.WouldBlock("no message is waiting: use `await ws.receive()` to wait for one")

    async def _receive_more(self) -> None:
        """Let the receiver task put something into the inbox."""
        if self._wakeup is None:
            self._wakeup = self._backend.wakeup()
        self._wire.budget = BUDGET
        await self._wakeup.wait()

    def _reader_left(self, reader: UserTask) -> None:
        """A call that reads has ended."""

    @property
    def _is_broken(self) -> bool:
        end = self._lifecycle.end
        return end is not None and end.broken and not self._lifecycle.own_close

    async def _check_can_receive(self) -> None:
        """Refuse a read that cannot be, having let others run: a loop of reads must not freeze."""
        lifecycle = self._lifecycle
        if lifecycle.over and not lifecycle.left and self._reader is None:
            return
        await self._backend.checkpoint()
        self._refuse_to_receive()

    def _refuse_to_receive(self) -> None:
        """Raise if a read cannot be."""
        self._lifecycle.refuse_after_block()
        if self._reader is not None:
            raise second_reader()
        if not self._lifecycle.over:
            self._lifecycle.states.check(Transition.RECEIVE)

    async def _let_others_run(self) -> None:
        """On trio every call is a checkpoint; on asyncio one in so many that need not wait."""
        wire = self._wire
        if self._on_trio or self._lifecycle.over or wire.budget <= 0:
            wire.budget = BUDGET
            await self._backend.checkpoint()
        else:
            wire.budget -= 1

    # ------------------------------------------------------------------------- what has come in

    def _hear_message(self, message: Message) -> int | None:
        """Count a message; return its size, or `None` if it is dropped."""
        lifecycle = self._lifecycle
        if lifecycle.over or lifecycle.states.state is not State.OPEN:
            lifecycle.states.apply(Transition.MESSAGE_IN)
            if lifecycle.over:
                return None
        size = size_of(message)
        self.messages += 1
        self.bytes += size
        if self._observers.messages:
            self._observers.message_received(message, size)
        if size > self._options.max_message_size:
            lifecycle.close_for_a_limit(CloseCode.MESSAGE_TOO_BIG, "message too big", None)
            return None
        if self._bucket is not None and not self._bucket.take(self._backend.now()):
            lifecycle.close_for_a_limit(CloseCode.POLICY_VIOLATION, "too many messages", None)
            return None
        if self._options.idle_timeout is not None:
            self._heard_at = self._backend.now()
        return None if self._lifecycle.over else size

    async def _hear(self, event: Connect | Disconnect) -> None:
        if isinstance(event, Disconnect):
            await self._hear_disconnect(event)
        else:
            self._lifecycle.on_connect()

    async def _hear_disconnect(self, event: Disconnect) -> None:
        """Give a raw send under way the chance to raise first: then it has the cause."""
        wire = self._wire
        self._disconnected = True
        wire.held, wire.clear = True, False
        try:
            for _ in range(CHECKPOINTS_OF_DOUBT):
                if not wire.sending or wire.doubt is not None:
                    break
                await self._backend.checkpoint()
        finally:
            # Also when the task is being cancelled: what was heard was heard.
            wire.held = False
            self._lifecycle.on_disconnect(event.code, event.reason, wire.doubt)

    def _receive_failed(self, exc: Exception) -> None:
        """The raw receive has raised: a departed client, or an error of what is around it."""
        self._disconnected = True
        certain = isinstance(exc, OSError) and not _is_plain_timeout(exc)
        if certain or (not self._options.strict and self._transport.says_gone(exc)):
            self._lifecycle.break_off(exc)
        else:
            self._protocol_violated(exc)

    def _protocol_violated(self, exc: Exception) -> None:
        """The server cannot be relied on any more: the error leaves through the block."""
        self._disconnected = True
        self._lifecycle.fail(Raiser.CONNECTION, exc)
        self._lifecycle.close_for_a_limit(CloseCode.INTERNAL_ERROR, "", exc)

    def look_for_disconnect(self) -> None:
        """As `ReceiveControl.look_for_disconnect`: only the receiver task can know."""

    # -------------------------------------------------------------------------- the receiver task

    def start(self) -> None:
        """Receive from the beginning: no task has read yet."""
        self._start_receiver()

    def _start_receiver(self) -> None:
        if self._service is None and not self._disconnected and not self._lifecycle.left:
            self._service = ServiceTask(
                self._backend, "wsnursery receiver", self._receive_all, self._receiver_ended
            )

    async def _receive_all(self) -> None:
        """Receive until the disconnect, or until a reader comes back, then drain the server."""
        wire = self._wire
        while not self._disconnected:
            wire.receiving = True
            try:
                event = await self._transport.receive()
            except Exception as exc:  # noqa: BLE001 - `_receive_failed` sorts them
                self._receive_failed(exc)
                return
            finally:
                wire.receiving = False
            self._taken += 1
            if self._change is not None:
                self._change.wake()
            try:
                if isinstance(event, (str, bytes)):
                    await self._keep(event)
                else:
                    await self._hear(event)
            except RemoteProtocolError as exc:
                self._protocol_violated(exc)
                return
        if self._drains:
            await drain(self._transport, self._backend)

    async def _keep(self, message: Message) -> None:
        """Put a message into the inbox, as soon as there is room for it."""
        size = self._hear_message(message)
        if size is None or self._options.incoming == "discard":
            return
        if self._filling is None:
            self._filling = Filling(self.inbox, self._wire, self._backend)
        is_wanted = True
        try:
            if not self._filling.has_room:
                self._in_hand = True
                is_wanted = await self._wait_for_room(self._filling)
        except BaseException:
            # A reader takes over, and this task has been cancelled. `asyncio.Queue.get` is no
            # checkpoint when there is an event, so the inbox may have been filled since.
            is_wanted = not self._lifecycle.over
            raise
        finally:
            self._in_hand = False
            if is_wanted:
                self.inbox.put(message, size)
                self._wake_reader()

    async def _wait_for_room(self, filling: Filling) -> bool:
        """Wait until the message in hand fits; `False` if it is not wanted any more."""
        self._observers.buffer_full("receive")
        filling.begin()
        while not filling.has_room:
            if not self._lifecycle.tasks.ever_read and not self._warned:
                self._warned = True
                logger.warning(
                    "the receive buffer of a WebSocket is full and its handler has never read: the "
                    'disconnect behind it cannot be seen. Read, or use Options(incoming="discard")'
                )
            await filling.wait()
            if self._lifecycle.over:
                self._observers.dropped("receive", 1)
                return False
        # While a message waited for room, the peer was not the one who was idle.
        self._heard_at = self._backend.now()
        return True

    def _receiver_ended(self, error: BaseException | None) -> None:
        self._service = None
        self._lifecycle.service_ended(error)
        self._wake_reader()
        if self._change is not None:
            self._change.wake()

    def _wake_reader(self) -> None:
        if self._wakeup is not None:
            self._wakeup.wake()

    # ------------------------------------------------------------------------------- the idle peer

    def on_accepted(self) -> None:
        """As `Listener.on_accepted`: from now on the peer may be idle for ``idle_timeout``."""
        timeout = self._options.idle_timeout
        if timeout is not None:
            self._heard_at = self._backend.now()
            self._idle_alarm = self._backend.timer.at(self._heard_at + timeout, self._look_idle)

    def _look_idle(self) -> None:
        timeout = self._options.idle_timeout
        assert timeout is not None
        if self._lifecycle.over:
            return
        now = self._backend.now()
        if self._filling is not None and not self._filling.has_room:
            self._heard_at = now
        if now < self._heard_at + timeout:
            self._idle_alarm = self._backend.timer.at(self._heard_at + timeout, self._look_idle)
            return
        cause = TimeoutError(f"the peer sent no message within {timeout} s")
        self._lifecycle.close_for_a_limit(CloseCode.GOING_AWAY, "idle timeout", cause)

    # ---------------------------------------------------------------- the close, the end, the exit

    def make_room(self) -> None:
        """As `ReceiveControl.make_room`."""
        if self._filling is not None:
            self._filling.look()

    def on_closing(self, close: Close | None) -> None:
        """As `Listener.on_closing`: what arrives from now on is dropped."""
        self._forget_received()
        self._interrupt_reader()
        if self._filling is not None:
            self._filling.wake()
        self._start_receiver()

    def on_end(self, end: End, close: Close | None) -> None:
        """As `Listener.on_end`."""
        if end.broken and end is self._lifecycle.end:
            self._forget_received()
            if self._reader is not None:
                # After an orderly end a reader keeps every task alive until it has heard of it
                # itself. Here it must count as notified before the others are cancelled.
                self._reader_notified = True
                self._lifecycle.tasks.notify(self._reader, provisionally=True)
        self._interrupt_reader()
        if self._filling is not None:
            self._filling.wake()
        if self._change is not None:
            self._change.wake()

    def _interrupt_reader(self) -> None:
        self._wake_reader()

    def _forget_received(self) -> None:
        """Drop unread messages."""
        self._observers.dropped("receive", len(self.inbox))
        self.inbox.clear()

    @property
    def is_receiving(self) -> bool:
        """The receiver task is there."""
        return self._service is not None

    async def answered(self) -> None:
        """Wait until the server reports the end after your own close."""
        while self._lifecycle.is_closing and self._service is not None:
            await self._changed()

    async def quiet(self) -> None:
        """Let the server deliver what it still has, until it has been silent for a moment."""
        silences = 0
        while self._must_drain and silences < len(SILENCES):
            if self._disconnected:
                await self.drained()
                return
            before = self._taken
            with anyio.move_on_after(SILENCES[silences]):
                await self._changed()
            silences = silences + 1 if self._taken == before else 0

    async def drained(self) -> None:
        """Wait until nothing is left to take from a server that has told of the disconnect."""
        while self._must_drain and self._disconnected:
            await self._changed()

    @property
    def _must_drain(self) -> bool:
        return self._drains and self._service is not None

    async def _changed(self) -> None:
        if self._change is None:
            self._change = self._backend.wakeup()
        await self._change.wait()

    def stop(self) -> None:
        """Cancel the receiver task."""
        if self._service is not None:
            self._service.cancel()

    async def stopped(self) -> None:
        """Wait until the receiver task has ended."""
        while self._service is not None:
            await self._changed()

    def release(self) -> None:
        """The block has been left: let go of the server."""
        self._forget_received()
        if self._idle_alarm is not None:
            self._idle_alarm.cancel()
        if self._filling is not None:
            self._filling.release()


def _is_plain_timeout(exc: OSError) -> bool:
    """Whether it is a timeout of code around ``receive``, and not one that the kernel reported."""
    return isinstance(exc, TimeoutError) and exc.errno is None
