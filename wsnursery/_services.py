"""The connection's own tasks: the receiver, the sender and the watchdog.

They outlive the application's tasks, each in a shielded scope that only the connection cancels.
They never raise: they note what happened and end the connection. The receiver always runs, for on
Hypercorn, granian and daphne a send to a vanished peer never fails and only the disconnect event
tells. The sender and the watchdog start when they are first needed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from anyio import (
    CancelScope,
    current_time,
    get_cancelled_exc_class,
    move_on_after,
    sleep_forever,
)
from anyio.lowlevel import checkpoint

from ._buffers import Delivery, size_of
from ._codes import CloseCode
from ._errors import RemoteProtocolError
from ._outcome import Source
from ._protocol import Accept, Close, Connect, Disconnect, Event, Incoming, Reject, State
from ._types import Message

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from ._connection import Connection, End

logger = logging.getLogger("wsnursery")

CHECKPOINTS_OF_DOUBT = 5
"""Checkpoints that the receiver gets to hear of a disconnect when a raw send has raised."""

OVERFLOW = 2
"""How many times its bounds the inbox may hold while a raw send is under way.

Hypercorn's ``send`` to a peer that has reset waits until the application's queue has room for the
disconnect; a receiver that stands still there would wait for the send, and the send for it."""

DRAIN_IDLE = 0.01
"""Seconds without an event after which a server's queue counts as drained. Servers put what they
have without waiting for anything but room in the queue, so one pass of the loop would nearly do."""

DRAIN_SECONDS = 1.0
"""The longest a drain may take, in seconds."""

DRAIN_EVENTS = 1000
"""The most events that a drain takes: a peer that floods must not hold the handler."""

STUCK_SECONDS = 1.0
"""Seconds after which a raw send that was given up and does not come back is logged."""


class Services:
    """The tasks that talk to the server for one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._options = connection.options
        self.group: TaskGroup | None = None
        self._running: dict[CancelScope, None] = {}
        self._idle = connection.new_wakeup()  # the block waits until no raw send is under way

        self.messages_received = 0
        self.bytes_received = 0
        self.messages_sent = 0
        self.bytes_sent = 0

        # The receiver.
        self._receiver: CancelScope | None = None
        self._room = connection.new_wakeup()
        self._disconnected = False
        self._events = 0
        self._warned = False
        self._answer = connection.new_wakeup()  # the block waits for the peer's answer

        # The sender.
        self._sender: CancelScope | None = None
        self._work = connection.new_wakeup()
        self._sending_since: float | None = None
        self._doubt: Exception | None = None
        self._given_up = False

        # The watchdog.
        self._watching = False
        self._nap: CancelScope | None = None
        self._next_alarm = math.inf
        self._heard_at: float | None = None
        self.close_taken = False
        """The server has taken a close or a denial."""
        self._closed_at: float | None = None
        self._grace_is_over = False

    # ---------------------------------------------------------------------------------- lifetime

    def start(self) -> None:
        """Start the receiver."""
        self._receiver = self._start(self._receive_all, "receiver")

    def _start(self, work: Callable[[], Awaitable[None]], name: str) -> CancelScope:
        scope = CancelScope(shield=True)
        self._running[scope] = None
        assert self.group is not None
        self.group.start_soon(self._run, work, scope, name=f"wsnursery {name}")
        return scope

    async def _run(self, work: Callable[[], Awaitable[None]], scope: CancelScope) -> None:
        try:
            with scope:
                await work()
        except get_cancelled_exc_class():
            # Not ours: the whole event loop is being cancelled.
            self._connection.break_off(None)
            raise
        except BaseException as exc:  # noqa: BLE001 - it leaves through the block
            if isinstance(exc, Exception):
                exc.add_note("this is a bug in wsnursery: please report it")
            self._connection.fail(Source.CONNECTION, exc)
        finally:
            del self._running[scope]
            self._answer.wake()

    async def stop(self) -> None:
        """Cancel all of them, and say so if the server keeps one.

        Their task group waits for them: no task may be left behind.
        """
        for scope in self._running:
            scope.cancel()
        with move_on_after(STUCK_SECONDS):
            while self._sending_since is not None:
                await self._idle.wait()
        if self._sending_since is not None:
            logger.warning(
                "a raw send neither ends nor can be cancelled on this server: the block of this "
                "WebSocket waits for it; see the page on servers for what frees it"
            )

    # ---------------------------------------------------------------------------------- receiver

    async def _receive_all(self) -> None:
        while not self._disconnected:
            try:
                event = await self._transport.receive()
            except Exception as exc:  # noqa: BLE001 - `_deaf` sorts them
                self._deaf(exc)
                return
            self._events += 1
            try:
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

    async def _hear(self, event: Incoming) -> None:
        connection = self._connection
        if isinstance(event, Disconnect):
            await self._let_send_finish()
            self._disconnected = True
            self._answer.wake()
            connection.heard_disconnect(event.code, event.reason, self._doubt)
        elif isinstance(event, Connect):
            connection.heard_connect()
        else:
            connection.protocol.apply(Event.MESSAGE_IN)
            if self._wants_messages():
                await self._take_in(event)

    async def _let_send_finish(self) -> None:
        """What a raw send raises at the same moment belongs to its caller, or is the cause."""
        for _ in range(CHECKPOINTS_OF_DOUBT):
            if self._sending_since is not None and self._doubt is None:
                await checkpoint()

    def _wants_messages(self) -> bool:
        return self._connection.end is None and not self._connection.own_close

    async def _take_in(self, message: Message) -> None:
        size = size_of(message)
        self.messages_received += 1
        self.bytes_received += size
        self._heard_at = None  # while it waits for room, the peer is not the one who is idle
        if size > self._options.max_message_size:
            self._connection.close_by_itself(CloseCode.MESSAGE_TOO_BIG, "message too big", None)
            return
        if self._options.incoming == "buffer":
            await self._deliver(message, size)
        self._watch_idle()

    async def _deliver(self, message: Message, size: int) -> None:
        while not self._has_room():
            self._warn_if_nobody_reads()
            await self._room.wait()
            if not self._wants_messages():
                return
        self._connection.heard_message(message, size)

    def _has_room(self) -> bool:
        sending = self._sending_since is not None
        return self._connection.inbox.has_room(factor=OVERFLOW if sending else 1)

    def make_room(self) -> None:
        """There may be room in the inbox: let the receiver look."""
        self._room.wake()

    def _warn_if_nobody_reads(self) -> None:
        if not self._warned and not self._connection.ever_read:
            self._warned = True
            logger.warning(
                "the receive buffer of a WebSocket is full and its handler has never read: the "
                'disconnect behind it cannot be seen. Read, or use Options(incoming="discard")'
            )

    async def _drain(self) -> None:
        """Take what is stuck in the server's queue, so that its own tasks can end."""
        with move_on_after(DRAIN_SECONDS):
            for _ in range(DRAIN_EVENTS):
                event: Incoming | None = None
                with move_on_after(DRAIN_IDLE):
                    try:
                        event = await self._transport.receive()
                    except Exception as exc:  # noqa: BLE001 - nothing is wanted from it any more
                        logger.debug("receive() after the end raised %r", exc)
                if event is None or isinstance(event, Disconnect):
                    return

    # ------------------------------------------------------------------------------------ sender

    @property
    def can_send(self) -> bool:
        """Whether what is queued still has somebody to send it."""
        return not self._given_up

    def start_sending(self) -> None:
        """Something was queued: let the sender look."""
        if self._sender is None:
            self._sender = self._start(self._send_all, "sender")
        else:
            self._work.wake()

    @property
    def is_closing(self) -> bool:
        """Whether a close or a denial is with the server right now."""
        in_flight = self._connection.outbox.in_flight
        return in_flight is not None and isinstance(in_flight.event, Close | Reject)

    def give_up_sending(self) -> None:
        """Send nothing more, and take back what is being sent if the server lets us."""
        self._given_up = True
        if self._sender is not None:
            self._sender.cancel()

    async def _send_all(self) -> None:
        outbox = self._connection.outbox
        while True:
            delivery = outbox.begin()
            if delivery is None:
                await self._work.wait()
            elif delivery.event is None:
                outbox.in_flight = None
                delivery.finish()
            else:
                try:
                    await self._transmit(delivery, delivery.event)
                finally:
                    outbox.in_flight = None

    async def _transmit(self, delivery: Delivery, event: Accept | Reject | Close | Message) -> None:
        if isinstance(event, Close):
            await self._before_close(event)
        self._sending_since = current_time()
        if self._options.send_timeout:
            self._watch(self._sending_since + self._options.send_timeout)
        self._room.wake()
        try:
            await self._transport.send(event)
        except Exception as exc:  # noqa: BLE001 - `_refused` sorts them
            await self._refused(delivery, exc)
        else:
            if not delivery.done:
                self._taken(delivery)
        finally:
            self._sending_since = None
            self._idle.wake()

    async def _before_close(self, event: Close) -> None:
        # From now on the code is said: it is not invented, whatever the server reports later.
        if self._connection.protocol.state is State.CLOSING:
            self._connection.protocol.apply(Event.CLOSE, (event.code, event.reason))
        if self._transport.receive_blocks_close and self._receiver is not None:
            self._receiver.cancel()
            for _ in range(CHECKPOINTS_OF_DOUBT):
                if not self._receiver_has_ended:
                    await checkpoint()

    def _taken(self, delivery: Delivery) -> None:
        event = delivery.event
        if isinstance(event, str | bytes):
            self.messages_sent += 1
            self.bytes_sent += delivery.size
        elif isinstance(event, Accept):
            self._connection.protocol.apply(Event.ACCEPTED)
            self._connection.subprotocol = event.subprotocol
            self._watch_idle()
        delivery.finish()
        if isinstance(event, Close | Reject):
            self._closed()

    def _closed(self) -> None:
        """The close or the denial is out: the rest is up to the peer, for a while."""
        self.close_taken = True
        connection = self._connection
        if connection.end is None:
            if connection.protocol.state is State.REJECTED or self._receiver_has_ended:
                connection.close_is_done()
            else:
                self._closed_at = current_time()
                self._watch(self._closed_at + self._options.close_timeout)

    async def _refused(self, delivery: Delivery, exc: Exception) -> None:
        """The raw send has raised: is the peer gone, or is this about the event?"""
        gone = await self._means_gone(exc)
        connection = self._connection
        if gone:
            connection.break_off(exc)
        elif delivery.done:
            return
        elif isinstance(delivery.event, Close):
            # Nobody can do anything about a close that the server will not take, or answer it.
            logger.debug("the server refused the close: %r", exc)
            delivery.finish()
            connection.close_is_done()
        else:
            if isinstance(delivery.event, Accept):
                # Hypercorn's trio worker dies of a handshake that is left half-answered.
                connection.begin_close(CloseCode.INTERNAL_ERROR, "")
            if delivery.waiter is None:
                connection.fail(Source.CONNECTION, exc)
                delivery.finish()
            else:
                delivery.finish(exc)

    async def _means_gone(self, exc: Exception) -> bool:
        certain = isinstance(exc, OSError)
        if self._options.strict and not certain:
            return False
        # Give a disconnect that is on its way the chance to be heard first: it has the code.
        self._doubt = exc
        for _ in range(CHECKPOINTS_OF_DOUBT):
            if self._connection.end is None:
                await checkpoint()
        self._doubt = None
        return certain or self._connection.end is not None or self._transport.says_gone(exc)

    # ---------------------------------------------------------------------------------- watchdog

    def _watch_idle(self) -> None:
        if self._options.idle_timeout is not None:
            self._heard_at = current_time()
            self._watch(self._heard_at + self._options.idle_timeout)

    def _watch(self, alarm: float) -> None:
        """Have the watchdog awake at ``alarm`` at the latest.

        A later alarm than the one it waits for costs nothing: it looks again when it wakes.
        """
        if not self._watching:
            self._watching = True
            self._start(self._watch_all, "watchdog")
        elif alarm < self._next_alarm and self._nap is not None:
            self._nap.deadline = self._next_alarm = alarm

    async def _watch_all(self) -> None:
        while alarms := self._alarms():
            self._next_alarm = min(alarm for alarm, _ in alarms)
            with CancelScope(deadline=self._next_alarm) as self._nap:
                await sleep_forever()
            for alarm, sound in self._alarms():
                if alarm <= current_time():
                    sound()
        self._watching = False

    def _alarms(self) -> list[tuple[float, Callable[[], None]]]:
        """What there is to watch now: when it is too late, and what to do then."""
        options = self._options
        alarms: list[tuple[float, Callable[[], None]]] = []
        if self._sending_since is not None and options.send_timeout and not self._given_up:
            alarms.append((self._sending_since + options.send_timeout, self._send_is_late))
        if self._connection.end is None:
            if self._heard_at is not None and options.idle_timeout and self._wants_messages():
                alarms.append((self._heard_at + options.idle_timeout, self._peer_is_idle))
            if self._closed_at is not None:
                alarms.append((self._closed_at + options.close_timeout, self._answer_is_late))
        elif not self._grace_is_over:
            alarms.append((self._connection.end.time + options.grace_period, self._end_grace))
        return alarms

    def _send_is_late(self) -> None:
        timeout = self._options.send_timeout
        self._connection.break_off(TimeoutError(f"the server took no message within {timeout} s"))
        self._transport.abort()

    def _peer_is_idle(self) -> None:
        timeout = self._options.idle_timeout
        cause = TimeoutError(f"the peer sent no message within {timeout} s")
        self._connection.close_by_itself(CloseCode.GOING_AWAY, "idle timeout", cause)

    def _answer_is_late(self) -> None:
        self._connection.close_is_done()

    def _end_grace(self) -> None:
        self._grace_is_over = True
        self._connection.end_grace()

    # ----------------------------------------------------------------------------------- leaving

    def heard_end(self, end: End) -> None:
        """The connection has ended."""
        self._room.wake()
        self._answer.wake()
        if self._connection.participants:
            self._watch(end.time + self._options.grace_period)

    @property
    def _receiver_has_ended(self) -> bool:
        return self._receiver is None or self._receiver not in self._running

    async def answered(self) -> None:
        """Wait until the server reports the end after the own close."""
        protocol = self._connection.protocol
        while protocol.state is State.CLOSING and not self._receiver_has_ended:
            await self._answer.wait()

    async def quiet(self) -> None:
        """Let the receiver take what the server still has, until there is nothing for a moment."""
        while self._transport.drains and not self._receiver_has_ended:
            before = self._events
            with move_on_after(DRAIN_IDLE):
                await self._answer.wait()
            if self._events == before and not self._disconnected:
                return
