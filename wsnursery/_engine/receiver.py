"""The receiver task: it receives while no task of the application does.

It exists on servers where only it may receive, for a connection that only pushes, and whenever no
reader has come back for a while. It is needed because on Hypercorn, granian and daphne a send to a
vanished peer never fails: only the disconnect event reports that the peer is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from wsnursery._backend.backend import Backend
from wsnursery._errors import RemoteProtocolError
from wsnursery._options import Options
from wsnursery._types import Message

from .aftercare import SILENCES, drain
from .arrivals import Arrivals
from .connection_log import ConnectionLog
from .filling import Filling
from .inbox import Inbox
from .lifecycle import Lifecycle
from .observers import Observers
from .service import ServiceTask
from .transport import Transport

if TYPE_CHECKING:
    from wsnursery._backend.wakeup import Wakeup


class Receiver:
    """Receives from the server into the inbox.

    Args:
        arrivals: Handles every event.
        lifecycle: Knows whether the task is still needed.
        transport: The server.
        options: The limits.
        observers: Notified when the inbox is full.
        backend: The event loop.
        inbox: Where messages wait for a reader.
    """

    __slots__ = (
        "_arrivals",
        "_backend",
        "_change",
        "_lifecycle",
        "_observers",
        "_options",
        "_taken",
        "_transport",
        "_warned",
        "_wire",
        "drains",
        "filling",
        "has_message_in_hand",
        "inbox",
        "reader",
        "service",
    )

    def __init__(
        self,
        arrivals: Arrivals,
        lifecycle: Lifecycle,
        transport: Transport,
        options: Options,
        observers: Observers,
        backend: Backend,
        inbox: Inbox,
    ) -> None:
        self._arrivals = arrivals
        self._lifecycle = lifecycle
        self._wire = lifecycle.wire
        self._transport = transport
        self._options = options
        self._observers = observers
        self._backend = backend
        self.inbox: Inbox = inbox
        self.drains: bool = transport.drains
        """Whether the task empties the server's queue after the disconnect."""
        self.service: ServiceTask | None = None
        """The task, while there is one."""
        self.filling: Filling | None = None
        """Waits for room in the inbox; made with the first message."""
        self.has_message_in_hand: bool = False
        """Whether the task holds a message for which the inbox has no room."""
        self.reader: Wakeup | None = None
        """Wakes a reader that waits for this task; the reader makes it."""
        self._taken = 0
        """The number of events taken from the server, including those that were dropped."""
        self._change: Wakeup | None = None
        """Wakes the block, which waits for this task; made when it does."""
        self._warned = False

    def start(self) -> None:
        """Start the task, unless there is one or no more events can come."""
        if self.service is None and not self._arrivals.disconnected and not self._lifecycle.left:
            self.service = ServiceTask(
                self._backend, "wsnursery receiver", self._receive_all, self._ended
            )

    async def _receive_all(self) -> None:
        """Receive until the disconnect, or until a reader comes back, then drain the server."""
        wire, arrivals = self._wire, self._arrivals
        while not arrivals.disconnected:
            wire.receiving = True
            try:
                event = await self._transport.receive()
            except Exception as exc:  # noqa: BLE001 - `receive_failed` sorts them
                arrivals.receive_failed(exc)
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
                    await arrivals.on_signal(event)
            except RemoteProtocolError as exc:
                arrivals.protocol_violated(exc)
                return
        if self.drains:
            await drain(self._transport, self._backend)

    async def _keep(self, message: Message) -> None:
        """Put a message into the inbox, as soon as there is room for it."""
        size = self._arrivals.on_message(message)
        if size is None or self._options.incoming == "discard":
            return
        if self.filling is None:
            self.filling = Filling(self.inbox, self._wire, self._backend)
        is_wanted = True
        try:
            if not self.filling.has_room:
                self.has_message_in_hand = True
                is_wanted = await self._wait_for_room(self.filling)
        except BaseException:
            # A reader takes over, and this task has been cancelled. `asyncio.Queue.get` is not a
            # checkpoint if there is an event, so the inbox may have been filled meanwhile.
            is_wanted = not self._lifecycle.over
            raise
        finally:
            self.has_message_in_hand = False
            if is_wanted:
                self.inbox.put(message, size)
                self.wake_reader()

    async def _wait_for_room(self, filling: Filling) -> bool:
        """Wait until the message in hand fits. Return `False` if it is no longer needed."""
        self._observers.buffer_full("receive")
        filling.begin()
        while not filling.has_room:
            if not self._lifecycle.tasks.ever_read and not self._warned:
                self._warned = True
                ConnectionLog(self._transport.scope).warning(
                    "the receive buffer of a WebSocket is full and its handler has never read: the "
                    'disconnect behind it cannot be seen. Read, or use Options(incoming="discard")'
                )
            await filling.wait()
            if self._lifecycle.over:
                self._observers.dropped("receive", 1)
                return False
        if self._arrivals.idle is not None:
            # While a message waited for room, the peer was not idle: the reader was slow.
            self._arrivals.idle.received_at = self._backend.now()
        return True

    def is_held_up(self) -> bool:
        """Whether the server is not read because the inbox is full."""
        return self.filling is not None and not self.filling.has_room

    def _ended(self, error: BaseException | None) -> None:
        self.service = None
        self._lifecycle.service_ended(error)
        self.wake_reader()
        self.wake_block()

    def wake_reader(self) -> None:
        """A message has arrived, or no more events can come: wake the reader."""
        if self.reader is not None:
            self.reader.wake()

    def wake_block(self) -> None:
        """Wake the block, because the event for which it waits may have happened."""
        if self._change is not None:
            self._change.wake()

    # ------------------------------------------------------------------------ leaving the block

    async def answered(self) -> None:
        """Wait until the server reports the end after your own close."""
        while self._lifecycle.is_closing and self.service is not None:
            await self._changed()

    async def quiet(self) -> None:
        """Receive what the server still has, until it has been silent for a moment."""
        silences = 0
        while self._must_drain and silences < len(SILENCES):
            if self._arrivals.disconnected:
                await self.drained()
                return
            before = self._taken
            with anyio.move_on_after(SILENCES[silences]):
                await self._changed()
            # Every event starts the waits again, because the server may put the next one.
            silences = silences + 1 if self._taken == before else 0

    async def drained(self) -> None:
        """Wait until the queue of a server that has delivered the disconnect is empty."""
        while self._must_drain and self._arrivals.disconnected:
            await self._changed()

    @property
    def _must_drain(self) -> bool:
        return self.drains and self.service is not None

    async def _changed(self) -> None:
        if self._change is None:
            self._change = self._backend.wakeup()
        await self._change.wait()

    def stop(self) -> None:
        """Cancel the task."""
        if self.service is not None:
            self.service.cancel()

    async def stopped(self) -> None:
        """Wait until the task has ended."""
        while self.service is not None:
            await self._changed()

    def release(self) -> None:
        """The block has been left."""
        if self.filling is not None:
            self.filling.release()
