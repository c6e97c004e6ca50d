"""The sender: the only task that is ever in the server's ``send``.

One raw send runs at a time, the close included, and none is cancelled because a caller was: a frame
is never torn. It starts when there is something to send.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from ._buffers import Delivery
from ._codes import CloseCode
from ._outcome import Source
from ._protocol import Accept, Close, Event, Outgoing, Reject, State
from ._service import Service

if TYPE_CHECKING:
    from ._connection import Connection

logger = logging.getLogger("wsnursery")

CHECKPOINTS_OF_DOUBT = 5
"""Checkpoints in which the receiver may hear of a disconnect when a raw send has raised, and a raw
send may raise when the receiver has heard of a disconnect: on trio, their order is chance."""

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
        self._queued = connection.new_wakeup()
        self._idle = connection.new_wakeup()  # the block waits until no raw send is under way

    def hold(self) -> None:
        """Begin nothing new until `release`: the end is being told."""
        self._held = True

    def release(self) -> None:
        """Go on with what is queued."""
        self._held = False
        self._queued.wake()

    def look(self) -> None:
        """Something was queued."""
        if self.is_running:
            self._queued.wake()
        else:
            self.start()

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
        """Send what is queued, and wait for more."""
        outbox = self._connection.outbox
        while True:
            delivery = None if self._held else outbox.begin()
            if delivery is None:
                await self._queued.wait()
            elif delivery.event is None:
                outbox.in_flight = None
                delivery.finish()
            else:
                try:
                    await self._transmit(delivery, delivery.event)
                finally:
                    outbox.in_flight = None

    async def _transmit(self, delivery: Delivery, event: Outgoing) -> None:
        if isinstance(event, Close) and not await self._prepare_close(event):
            delivery.finish()
            return
        watchdog = self._connection.watchdog
        if self._options.send_timeout is not None:
            watchdog.watch(self._is_late, anyio.current_time() + self._options.send_timeout)
        self.is_sending = True
        self._connection.receiver.look_for_room()  # there is more while a raw send is under way
        try:
            await self._transport.send(event)
        except Exception as exc:  # noqa: BLE001 - `_refused` sorts them
            await self._refused(delivery, exc)
        else:
            if not delivery.done:
                self._taken(delivery)
        finally:
            self.is_sending = False
            watchdog.forget(self._is_late)
            self._idle.wake()

    async def _prepare_close(self, event: Close) -> bool:
        """Make way for a close; say whether it is still wanted."""
        connection = self._connection
        if self._transport.receive_blocks_close:
            connection.receiver.stop()
            for _ in range(CHECKPOINTS_OF_DOUBT):
                if connection.receiver.is_running:
                    await anyio.lowlevel.checkpoint()
        if connection.protocol.state is State.CLOSED:  # that was the receiver's last word
            return False
        if connection.is_closing:
            # From now on the code is said: it is not invented, whatever the server reports later.
            connection.protocol.apply(Event.CLOSE, (event.code, event.reason))
        return True

    def _taken(self, delivery: Delivery) -> None:
        event = delivery.event
        if isinstance(event, str | bytes):
            self.messages += 1
            self.bytes += delivery.size
        elif isinstance(event, Accept):
            self._connection.accepted(event.subprotocol)
        delivery.finish()
        if isinstance(event, Close | Reject):
            self.close_taken = True
            self._connection.close_went_out()

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
        self.doubt = exc
        for _ in range(CHECKPOINTS_OF_DOUBT):
            if self._connection.end is None:
                await anyio.lowlevel.checkpoint()
        self.doubt = None
        return certain or self._connection.end is not None or self._transport.says_gone(exc)

    def _is_late(self) -> None:
        timeout = self._options.send_timeout
        self._connection.break_off(TimeoutError(f"the server took no message within {timeout} s"))
        self._transport.abort()

    async def stopped(self) -> None:
        """Wait until the raw send that was given up has come back, and say so if it does not.

        Then its task group waits for it: no task may be left behind.
        """
        with anyio.move_on_after(STUCK_SECONDS):
            while self.is_sending:
                await self._idle.wait()
        if self.is_sending and not self._transport.abort():
            logger.warning(
                "a raw send neither ends nor can be cancelled on this server: the block of this "
                "WebSocket waits for it; see the page on servers for what frees it"
            )
