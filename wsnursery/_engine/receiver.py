"""The receiver: the task that is always in the server's ``receive``.

It always runs, for on Hypercorn, granian and daphne a send to a vanished peer never fails and only
the disconnect event tells.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from wsnursery._codes import CloseCode
from wsnursery._errors import RemoteProtocolError
from wsnursery._types import Message

from .events import Connect, Disconnect, Incoming
from .inbox import size_of
from .outcome import Source
from .sender import CHECKPOINTS_OF_DOUBT
from .service import Service
from .states import Event

if TYPE_CHECKING:
    from .connection import Connection

logger = logging.getLogger("wsnursery")

OVERFLOW = 2
"""How many times its bounds the inbox may hold while a raw send is under way.

Hypercorn's ``send`` to a peer that has reset waits until the application's queue has room for the
disconnect; a receiver that stands still there would wait for the send, and the send for it."""

RELIEF_AFTER = 0.25
"""Seconds after which a raw send that does not come back may be waiting for the receiver. One that
takes a moment must not fill the inbox more and more."""

READ_AT_ONCE = 11_000
"""The most messages that Hypercorn reads at once and then delivers, also after the disconnect: 64
KiB, of messages of 6 bytes perhaps.

The most that a drain takes, for a peer that floods must not hold the handler. And so many more may
the inbox hold, and once more its bound in bytes, for a raw send that does not come back: one to a
peer that has reset waits until the asyncio worker has delivered them all."""

PATIENCE = 0.005
"""Seconds for which the receiver of a full inbox waits for room for several messages. A switch of
tasks for each one that is read would cost more than the message. Who reads slowly does not make the
disconnect behind the inbox wait: then room for one is enough."""

DRAIN_IDLE = (0.01, 0.001, 0.001)
"""Waits in seconds, one after the other without an event, after which a server's queue counts as
drained. Servers put what they have without waiting for anything but room in the queue, so one pass
of the loop would nearly do. Where a pass takes longer than the first wait, on a busy machine, the
server gets its turn only when that wait is over: hence the others."""

DRAIN_SECONDS = 30.0
"""The longest that a drain takes. Each event needs a pass of the server's loop: a good part of a
second when a thousand clients leave at the same moment, on a busy machine."""


class Receiver(Service):
    """Takes what the server delivers, as long as there is room for it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.messages: int = 0
        self.bytes: int = 0
        self._events = 0
        self._disconnected = False
        self._warned = False
        self._is_relieving = False
        """The raw send under way has taken so long that it may be waiting for us."""
        self._is_patient = False
        """Room for one message is going to be used a little later."""
        self._room = connection.native.wakeup()
        self._change = connection.native.wakeup()  # the block waits for the end, or for silence

    async def work(self) -> None:
        """Receive until the disconnect, then drain the server."""
        while not self._disconnected:
            try:
                event = await self._transport.receive()
            except Exception as exc:  # noqa: BLE001 - `_deaf` sorts them
                self._deaf(exc)
                return
            self._events += 1
            try:
                if isinstance(event, (str, bytes)):
                    if not self._hear_message(event):
                        await self._wait_for_room(event)
                else:
                    await self._hear(event)
            except RemoteProtocolError as exc:
                self._blame(exc)
                return
        if self._transport.drains:
            await self._drain()

    def _deaf(self, exc: Exception) -> None:
        """The raw receive has failed."""
        is_fault = isinstance(exc, RemoteProtocolError)
        if is_fault or (self._options.strict and not isinstance(exc, OSError)):
            self._blame(exc)
        else:
            self._connection.break_off(exc)

    def _blame(self, exc: Exception) -> None:
        """The server has broken the protocol: nothing it says can be relied on any more."""
        self._connection.fail(Source.CONNECTION, exc)
        self._connection.close_by_itself(CloseCode.INTERNAL_ERROR, "", exc)

    def _hear_message(self, message: Message) -> bool:
        """Put a message into the inbox, or drop it; `False` if it has to wait for room."""
        connection = self._connection
        connection.protocol.apply(Event.MESSAGE_IN)
        if connection.over:
            return True
        size = size_of(message)
        self.messages += 1
        self.bytes += size
        if connection.observers.messages:
            connection.observers.message_received(message, size)
        if size > self._options.max_message_size:
            connection.close_by_itself(CloseCode.MESSAGE_TOO_BIG, "message too big", None)
            return True
        if self._options.incoming == "buffer":
            if not self._has_room():
                return False
            connection.heard_message(message, size)
        if self._options.idle_timeout is not None:
            self.watch_idle()
        return True

    async def _wait_for_room(self, message: Message) -> None:
        self._connection.observers.buffer_full("receive")
        # While a message waits for room, the peer is not the one who is idle.
        self._connection.watchdog.forget(self._peer_is_idle)
        self._is_relieving = False
        while not self._has_room():
            self._warn_if_nobody_reads()
            if self._connection.sender.is_sending:
                self._relieve_later()
            await self._room.wait()
            if self._connection.over:
                self._connection.observers.dropped("receive", 1)
                return
        self._connection.heard_message(message, size_of(message))
        self.watch_idle()

    async def _hear(self, event: Connect | Disconnect) -> None:
        connection = self._connection
        if isinstance(event, Disconnect):
            self._disconnected = True
            try:
                await self._let_send_finish()
            finally:
                # Also when the receiver is being stopped: what was heard was heard.
                connection.sender.release()
                connection.heard_disconnect(event.code, event.reason)
        else:
            connection.heard_connect()

    async def _let_send_finish(self) -> None:
        """What a raw send raises at the same moment belongs to its caller, or is the cause."""
        sender = self._connection.sender
        sender.hold()
        for _ in range(CHECKPOINTS_OF_DOUBT):
            if sender.is_sending and sender.doubt is None:
                await self._native.checkpoint()

    def _has_room(self) -> bool:
        inbox = self._connection.inbox
        if not self._connection.sender.is_sending:
            return inbox.has_room()
        if self._is_relieving:
            return inbox.has_room(OVERFLOW + 1, READ_AT_ONCE)
        return inbox.has_room(OVERFLOW)

    def look_for_room(self) -> None:
        """There may be room in the inbox for the message in hand."""
        if not self._room.is_asleep:
            return
        if self._has_room():
            self._room.wake()
        else:
            self._relieve_later()

    def _relieve_later(self) -> None:
        at = self._native.now() + RELIEF_AFTER
        self._connection.watchdog.watch(self._relieve, at)

    def _relieve(self) -> None:
        """Take more for a raw send that may be waiting for just that."""
        self._is_relieving = self._connection.sender.is_sending
        if self._room.is_asleep and self._has_room():
            self._room.wake()

    def refill(self) -> None:
        """A message was read: go on now if there is room for several, else in a moment."""
        if not self._room.is_asleep:
            return
        if self._connection.inbox.is_worth_filling:
            self._room.wake()
        elif not self._is_patient:
            self._is_patient = True
            at = self._native.now() + PATIENCE
            self._connection.watchdog.watch(self._lose_patience, at)

    def _lose_patience(self) -> None:
        self._is_patient = False
        self.look_for_room()

    def _warn_if_nobody_reads(self) -> None:
        if not self._warned and not self._connection.application.ever_read:
            self._warned = True
            logger.warning(
                "the receive buffer of a WebSocket is full and its handler has never read: the "
                'disconnect behind it cannot be seen. Read, or use Options(incoming="discard")'
            )

    def watch_idle(self) -> None:
        """From now on the peer may be idle for ``idle_timeout``."""
        timeout = self._options.idle_timeout
        if timeout is not None and not self._connection.over:
            self._connection.watchdog.watch(self._peer_is_idle, self._native.now() + timeout)

    def _peer_is_idle(self) -> None:
        timeout = self._options.idle_timeout
        cause = TimeoutError(f"the peer sent no message within {timeout} s")
        self._connection.close_by_itself(CloseCode.GOING_AWAY, "idle timeout", cause)

    async def _drain(self) -> None:
        """Take what is stuck in the server's queue, so that its own tasks can end."""
        silences, late = 0, self._native.now() + DRAIN_SECONDS
        for _ in range(READ_AT_ONCE):
            event: Incoming | None = None
            with anyio.move_on_after(DRAIN_IDLE[silences]):
                try:
                    event = await self._transport.receive()
                except Exception as exc:  # noqa: BLE001 - nothing is wanted from it any more
                    logger.debug("receive() after the end raised %r", exc)
                    return
            silences = silences + 1 if event is None else 0
            done = silences == len(DRAIN_IDLE) or isinstance(event, Disconnect)
            if done or self._native.now() >= late:
                return

    # ---------------------------------------------------------------- what the block waits for

    def changed(self) -> None:
        """The end was heard, or the receiver has ended: the block may be waiting for it."""
        self._room.wake()
        self._change.wake()

    async def answered(self) -> None:
        """Wait until the server reports the end after the own close."""
        while self._connection.is_closing and self.is_running:
            await self._change.wait()

    async def quiet(self) -> None:
        """Let the server deliver what it still has, until there is nothing for a moment."""
        silences = 0
        while self._transport.drains and self.is_running and silences < len(DRAIN_IDLE):
            if self._disconnected:
                await self.drained()
                return
            before = self._events
            with anyio.move_on_after(DRAIN_IDLE[silences]):
                await self._change.wait()
            silences = silences + 1 if self._events == before else 0

    async def drained(self) -> None:
        """Wait until nothing is left to take from a server that has told of the disconnect."""
        while self._disconnected and self.is_running:
            await self._change.wait()
