"""An in-memory server whose own callables are recognised: callers receive and send in place."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

import anyio
import anyio.lowlevel

from wsnursery import Options, WebSocket, testing
from wsnursery._backend.queues import Interrupted
from wsnursery._backend.running import running_on_trio
from wsnursery._engine.connection import Sides
from wsnursery.asgi._receiving import AsyncioIncoming, TrioIncoming
from wsnursery.asgi._sending import AsyncioOutgoing, RawSend, TrioOutgoing
from wsnursery.asgi._transport import ASGITransport
from wsnursery.transports import make_websocket


class ServerQueue:
    """The receiving end of a server as its queue; a call that waits can be interrupted."""

    needs_aftercare = False

    def __init__(self, server: testing.Server, *, on_trio: bool) -> None:
        self._server = server
        self._closed = False
        self._scope: anyio.CancelScope | None = None
        self.interrupted: type[Exception] = Interrupted
        self.receive: Callable[[], Coroutine[Any, Any, Any]] = server.receive
        if on_trio:
            import trio

            self.interrupted = trio.ClosedResourceError
            self.receive = self.wait

    def is_empty(self) -> bool:
        """On asyncio: whether a call would wait, or may do so because of a fault."""
        channel = self._server._channel
        at_hand = channel.accepted and channel.to_app and not channel.notified
        return bool(self._server._faults or not at_hand)

    async def wait(self) -> Any:
        if self._closed:
            raise self.interrupted
        with anyio.CancelScope() as self._scope:
            return await self._server.receive()
        raise self.interrupted

    async def receive_alone(self) -> Any:
        """For the receiver task: an interrupted call takes a moment to end."""
        while self._server._channel.reading:
            await anyio.lowlevel.checkpoint()
        return await self._server.receive()

    def take(self) -> Any:
        """The queue is empty when it is checked, so the receiver task must get the event."""
        return None

    def close(self) -> None:
        """A waiting call raises `interrupted`."""
        self._closed = True
        if self._scope is not None:
            self._scope.cancel()


def recognised(server: testing.Server, given: Options = Options()) -> WebSocket:
    """The block over an in-memory server, with both sides in place."""
    on_trio = running_on_trio()
    queue = ServerQueue(server, on_trio=on_trio)
    transport = ASGITransport(server.scope, queue.receive_alone, server.send, given)
    if not on_trio:
        incoming = partial(AsyncioIncoming, cast("Any", queue), transport.parse)

        async def stepped(event: Any) -> None:
            # Its first step is taken in one task and the others in another, where there are any:
            # no scope of anyio may be entered there, nor in a plain callback. The raw send of no
            # server does.
            in_task = asyncio.current_task() is not None
            if in_task and server._channel.room_to_peer and not server._faults:
                await server.send(event)
            else:
                await asyncio.ensure_future(server.send(event))

        send = cast("RawSend", stepped)
        return make_websocket(transport, given, Sides(incoming, partial(AsyncioOutgoing, send)))

    async def shielded(event: Any) -> None:
        with anyio.CancelScope(shield=True):
            await server.send(event)
            await anyio.lowlevel.checkpoint()  # as every raw send on trio

    def takes(size: int) -> bool:
        return server._channel.room_to_peer and not server._faults

    return make_websocket(
        transport,
        given,
        Sides(
            partial(TrioIncoming, cast("Any", queue), transport.parse),
            partial(TrioOutgoing, shielded, takes),
        ),
    )
