"""A full inbox: when the receiver may put the message that it holds.

The server is not read meanwhile, which slows the peer down (backpressure). While a raw send is in
flight the limits are higher, because the server may need to be read before it can finish that send.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from wsnursery._backend.backend import Backend

from .inbox import Inbox
from .wire import Wire

if TYPE_CHECKING:
    from wsnursery._backend.timer import Alarm

OVERFLOW = 2
"""The limits are multiplied by this while a raw send is in flight.

Hypercorn's ``send`` to a peer that has reset waits until the application's queue has room for the
disconnect: the receiver and the send would deadlock."""

RELIEF_AFTER = 0.25
"""Seconds after which a raw send that has not returned may be waiting for the receiver. A raw send
that takes only a moment must not let the inbox grow."""

READ_AT_ONCE = 11_000
"""Messages that Hypercorn can get from one read of 64 KiB, with frames of 6 bytes. It delivers all
of them, even after the disconnect. The inbox may hold that many more while a raw send does not
return, because on Hypercorn's asyncio worker a send to a peer that has reset waits until they have
all been taken."""

PATIENCE = 0.005
"""Seconds for which the receiver waits for room for several messages, because a task switch for
each message would cost more than the message. After that, room for one is enough, so that a slow
reader cannot hold back a queued disconnect."""


class Filling:
    """Waits for room in one inbox."""

    __slots__ = ("_backend", "_inbox", "_is_relieving", "_patience", "_relief", "_room", "_wire")

    def __init__(self, inbox: Inbox, wire: Wire, backend: Backend) -> None:
        self._inbox = inbox
        self._wire = wire
        self._backend = backend
        self._room = backend.wakeup()
        self._patience: Alarm | None = None
        """The alarm after which room for one message is used."""
        self._relief: Alarm | None = None
        self._is_relieving = False
        """The raw send in flight has taken so long that it may be waiting for the receiver."""

    @property
    def has_room(self) -> bool:
        """Whether the inbox takes one more message now."""
        if not self._wire.sending:
            return self._inbox.has_room()
        if self._is_relieving:
            return self._inbox.has_room(OVERFLOW + 1, READ_AT_ONCE)
        return self._inbox.has_room(OVERFLOW)

    async def wait(self) -> None:
        """Sleep until there may be room, or `wake`."""
        if self._wire.sending:
            self._relieve_later()
        await self._room.wait()

    def begin(self) -> None:
        """The receiver holds a message for which there is no room."""
        self._is_relieving = False

    def wake(self) -> None:
        """The connection has closed or ended."""
        self._room.wake()

    def look(self) -> None:
        """Wake the receiver, because there may be room for the message that it holds."""
        if not self._room.is_asleep:
            return
        if self.has_room:
            self._room.wake()
        else:
            self._relieve_later()

    def on_read(self) -> None:
        """A message was read: continue now if there is room for several, otherwise in a moment."""
        if not self._room.is_asleep:
            return
        if self._inbox.is_worth_filling:
            self._room.wake()
        elif self._patience is None:
            self._patience = self._after(PATIENCE, self._lose_patience)

    def _after(self, seconds: float, call: Callable[[], None]) -> Alarm:
        return self._backend.timer.at(self._backend.now() + seconds, call)

    def _lose_patience(self) -> None:
        self._patience = None
        self.look()

    def _relieve_later(self) -> None:
        if self._relief is not None:
            self._relief.cancel()
        self._relief = self._after(RELIEF_AFTER, self._relieve)

    def _relieve(self) -> None:
        """Take more messages, because a raw send may be waiting for that."""
        self._relief = None
        self._is_relieving = self._wire.sending
        if self._room.is_asleep and self.has_room:
            self._room.wake()

    def release(self) -> None:
        """The block has been left."""
        for alarm in (self._patience, self._relief):
            if alarm is not None:
                alarm.cancel()
