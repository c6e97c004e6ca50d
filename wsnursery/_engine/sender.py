"""The sender: the only task that is ever in the server's ``send``.

One raw send runs at a time, the close included, and none is cancelled because a caller was: a frame
is never torn. It starts when there is something to send, and ends when there has been nothing for a
while.

Where the backend allows it (asyncio), a message with nothing before it is begun in the sender's
name by the call that sends it. Most raw sends do not wait there: that saves two switches of tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import anyio

from wsnursery._backend.native import Begun, Stage
from wsnursery._codes import CloseCode
from wsnursery._types import Message

from .events import Accept, Close, Outgoing, Reject
from .outbox import Delivery
from .outcome import Source
from .service import Service
from .states import Event, State

if TYPE_CHECKING:
    from .connection import Connection

logger = logging.getLogger("wsnursery")

CHECKPOINTS_OF_DOUBT = 5
"""Checkpoints in which the receiver may hear of a disconnect when a raw send has raised, and a raw
send may raise when the receiver has heard of a disconnect: on trio, their order is chance."""

CHECKPOINTS_BEFORE_ANSWER = 5
"""Checkpoints between the server's ``connect`` and our answer to it.

Hypercorn's trio worker dies when data that came in the same packet as the handshake meets an answer
that is already under way; 3 checkpoints let it finish reading first, 5 leave a margin."""

HANDSHAKE = {State.ACCEPTING, State.REJECTED}
"""The states in which what is sent answers the handshake."""

STUCK_SECONDS = 1.0
"""Seconds after which a raw send that was given up and does not come back is logged."""


class Sender(Service):
    """Hands what is queued to the server, in order."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.messages: int = 0
        self.bytes: int = 0
        self.is_sending: bool = False
        """A raw send is under way."""
        self.doubt: Exception | None = None
        """What a raw send has just raised, as long as it is not clear what it means."""
        self.has_given_up: bool = False
        """What is queued is not going to be sent."""
        self.close_taken: bool = False
        """The server has taken a close or a denial."""
        self._held = False
        self._late = 0.0
        """When the raw send under way, or the last one, has taken too long."""
        self._is_watched = False
        self._may_end = True
        """It is going to be quiet: no task is needed until there is something to send."""
        self._stage: Stage | None = None
        self._begun: Begun | None = None
        """What is left of a raw send that the call itself has begun."""
        self._queued = connection.native.wakeup()
        self._idle = connection.native.wakeup()  # the block waits until no raw send is under way

    def hold(self) -> None:
        """Begin nothing new until `release`: the end is being told."""
        self._held = True

    def release(self) -> None:
        """Go on with what is queued behind the raw send under way, if the end allows it."""
        self._held = False

    def look(self) -> None:
        """Something was queued."""
        if self.is_running:
            self._queued.wake()
        else:
            self.start()

    @property
    def is_ready(self) -> bool:
        """Nothing is before the next message, and others may begin to send it in its name."""
        return self._stage is not None and self._queued.is_asleep and not self._held

    def send_now(self, message: Message, size: int) -> Delivery | None:
        """Begin to send a message in the name of this task, which must be ready.

        Returns:
            What is left to wait for; `None` if the server has taken it.
        """
        assert self._stage is not None
        begun = self._stage.begin(self._transport.send(message))
        if begun is None:
            self._count(message, size)
            return None
        delivery = Delivery(message, size)
        self._connection.outbox.in_flight = delivery
        self._begun = begun
        self._note_start()
        self._queued.wake()
        return delivery

    @property
    def is_closing(self) -> bool:
        """Whether a close or a denial is with the server right now."""
        in_flight = self._connection.outbox.in_flight
        return in_flight is not None and isinstance(in_flight.event, Close | Reject)

    def give_up(self) -> None:
        """Send nothing more, and take back what is being sent if the server lets us."""
        self.has_given_up = True
        self.stop()

    async def work(self) -> None:
        """Send what is queued, and wait for more.

        After the handshake it ends, and after a silence of ``send_timeout``: many a connection is
        idle then, and a task needs memory.
        """
        outbox = self._connection.outbox
        self._stage = self._native.stage()
        while True:
            delivery = None if self._held else outbox.begin()
            if delivery is None:
                if self._may_end and not self._held:
                    break
                await self._rest()
                continue
            event = delivery.event
            try:
                if event is None or not (delivery.is_message or await self._prepare(event)):
                    delivery.finish()
                else:
                    await self._transmit(delivery, self._transport.send(event))
            finally:
                outbox.in_flight = None
        self._stage = None

    async def _rest(self) -> None:
        """Wait for more; finish what a call has begun meanwhile."""
        cancellation: BaseException | None = None
        try:
            await self._queued.wait()
        except BaseException as exc:  # noqa: ASYNC103 - it is passed on
            if self._begun is None:
                raise
            cancellation = exc  # it is for what the task is in the middle of
        if self._begun is not None:
            begun, self._begun = self._begun, None
            delivery = self._connection.outbox.in_flight
            assert delivery is not None
            try:
                await self._transmit(delivery, begun.finish(cancellation))
            finally:
                self._connection.outbox.in_flight = cancellation = None

    async def _transmit(self, delivery: Delivery, raw_send: Awaitable[None]) -> None:
        if not self.is_sending:
            self._note_start()
        self._connection.receiver.look_for_room()  # there is more while a raw send is under way
        try:
            await raw_send
        except Exception as exc:  # noqa: BLE001 - `_refused` sorts them
            self._connection.observers.send_failed(exc)
            await self._refused(delivery, exc)
        else:
            if not delivery.done:
                self._taken(delivery)
        finally:
            self.is_sending = False
            self._idle.wake()

    def _note_start(self) -> None:
        """A raw send is under way from now on."""
        self.is_sending = True
        self._may_end = False
        if self._options.send_timeout is not None:
            self._late = self._native.now() + self._options.send_timeout
            if not self._is_watched:
                self._watch()

    async def _prepare(self, event: Outgoing) -> bool:
        """Make way for what is no message; say whether it is still wanted."""
        if self._connection.protocol.state in HANDSHAKE:
            for _ in range(CHECKPOINTS_BEFORE_ANSWER):
                await self._native.checkpoint()
        return not isinstance(event, Close) or await self._prepare_close(event)

    async def _prepare_close(self, event: Close) -> bool:
        connection = self._connection
        if self._transport.receive_blocks_close:
            connection.receiver.stop()
            for _ in range(CHECKPOINTS_OF_DOUBT):
                if connection.receiver.is_running:
                    await self._native.checkpoint()
        if connection.protocol.state is State.CLOSED:  # that was the receiver's last word
            return False
        if connection.is_closing:
            # From now on the code is said: it is not invented, whatever the server reports later.
            connection.protocol.apply(Event.CLOSE, (event.code, event.reason))
        return True

    def _taken(self, delivery: Delivery) -> None:
        event = delivery.event
        if isinstance(event, (str, bytes)):
            self._count(event, delivery.size)
            delivery.finish()
            return
        if isinstance(event, Accept):
            self._connection.accepted(event.subprotocol)
            self._watch_no_more()
            self._may_end = True
        delivery.finish()
        if isinstance(event, Close | Reject):
            self.close_taken = True
            self._connection.close_went_out()

    def _count(self, message: Message, size: int) -> None:
        self.messages += 1
        self.bytes += size
        if self._connection.observers.messages:
            self._connection.observers.message_sent(message, size)

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
            connection.close_is_done()
        else:
            if isinstance(delivery.event, Accept):
                # Hypercorn's trio worker dies of a handshake that is left half-answered.
                connection.begin_close(CloseCode.INTERNAL_ERROR, "")
            if delivery.waiter is None:
                connection.fail(Source.CONNECTION, exc)
            else:
                delivery.finish(exc)

    async def _means_gone(self, exc: Exception) -> bool:
        certain = isinstance(exc, OSError)
        if self._options.strict and not certain:
            return False
        # Give a disconnect that is on its way the chance to be heard first: it has the code.
        self.doubt = exc
        for _ in range(CHECKPOINTS_OF_DOUBT):
            if self._connection.end is None:
                await self._native.checkpoint()
        self.doubt = None
        return certain or self._connection.end is not None or self._transport.says_gone(exc)

    def _watch(self) -> None:
        self._is_watched = True
        self._connection.watchdog.watch(self._look_at_clock, self._late)

    def _watch_no_more(self) -> None:
        self._is_watched = False
        self._connection.watchdog.forget(self._look_at_clock)
        self._connection.watchdog.relax()

    def _look_at_clock(self) -> None:
        """Is the raw send late? One alarm serves all of them: most are done long before it."""
        self._is_watched = False
        if self._native.now() < self._late:
            self._watch()
        elif self.is_sending:
            timeout = self._options.send_timeout
            late = TimeoutError(f"the server took no message within {timeout} s")
            self._connection.break_off(late)
            self._transport.abort()
        else:
            self._may_end = True
            self._queued.wake()

    async def stopped(self) -> None:
        """Wait until the raw send that was given up has come back, and say so if it does not.

        Then its task group waits for it: no task may be left behind.
        """
        if not self.is_sending:
            return
        with anyio.move_on_after(STUCK_SECONDS, shield=True) as limit:
            while self.is_sending:
                await self._idle.wait()
        if limit.cancelled_caught and not self._transport.abort():
            logger.warning(
                "a raw send neither ends nor can be cancelled on this server: the block of this "
                "WebSocket waits for it; see the page on servers for what frees it"
            )
