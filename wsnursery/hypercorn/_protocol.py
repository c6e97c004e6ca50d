"""Hypercorn's protocol classes with the behaviour that one hostile client needs.

Hypercorn has no setting for the classes that it uses: its functions name them as globals of their
modules. `rebound` makes such a function anew with another class in that place. Nothing of Hypercorn
is copied, and nothing changes for another Hypercorn in the same process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import Any, cast

import anyio
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Body, Data, Event, Request, StreamClosed
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from wsproto.connection import ConnectionState
from wsproto.events import Ping

from ._config import Config
from ._deflate import BoundedDeflate

EARLY_BYTES = 64 * 1024
"""Bytes of data that are kept before the handshake is accepted; then the client has to wait."""


def rebound(function: Any, **names: object) -> Any:
    """A function that finds other objects under some of its global names.

    Raises:
        AttributeError: It has no such global name: this version of Hypercorn is built differently.
    """
    missing = names.keys() - function.__globals__.keys()
    if missing:
        raise AttributeError(f"{function.__module__} has no {', '.join(sorted(missing))}")
    again = FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    again.__kwdefaults__ = function.__kwdefaults__
    again.__qualname__ = function.__qualname__
    return again


class WebSocketStream(WSStream):
    """One WebSocket of Hypercorn.

    - Data that comes before the handshake is accepted waits for that. Hypercorn answers it with
      400 in the middle of the handshake, and never tells the application of the end.
    - permessage-deflate is off, or bounded.
    - A message that is too large ends the connection; Hypercorn waits for the client to do so.
    - When the application has ended, nothing waits for it to receive any more.
    - The task that pings ends with the connection, not at the next ping. The task keeps what the
      connection holds in memory, and its descriptor.
    """

    # Of Hypercorn's module, by whose name `wsnursery.asgi` knows it; so are the two below.
    __module__ = WSStream.__module__

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._early: list[Event] = []
        self._early_bytes = 0
        self._accepted = anyio.Event()
        self._early_taken = anyio.Event()
        self._early_taker: int | None = None
        """The task that takes the early data, by its id."""
        self._ended = anyio.Event()
        self._left = False
        self._puts: set[anyio.CancelScope] = set()
        self.delivered = 0
        """Events that the application's queue has taken."""

    async def handle(self, event: Event) -> None:
        """Take one event of the network connection."""
        if isinstance(event, Body | Data) and not self.closed and self._waits_for_accept():
            await self._keep(event)
            return
        if isinstance(event, StreamClosed) and self._is_behind_early_data():
            await self._early_taken.wait()  # what came before the end is still good
        try:
            await super().handle(event)
        finally:
            if self.closed:
                self._ended.set()
                self._accepted.set()
        put = cast("Any", self.app_put)  # pyright: ignore[reportUnknownMemberType]
        if isinstance(event, Request) and put is not None:
            self.app_put = partial(self._put, put)

    async def _put(self, put: Callable[[Any], Any], event: Any) -> None:
        if self._left:
            return
        with anyio.CancelScope() as scope:
            self._puts.add(scope)
            try:
                await put(event)
                self.delivered += 1
            finally:
                self._puts.discard(scope)

    @property
    def is_full(self) -> bool:
        """Whether an event waits for room in the application's queue."""
        return bool(self._puts)

    async def app_send(self, message: Any) -> None:
        """Take one event of the application; `None` when it has ended."""
        if message is None:
            self._left = True
            for scope in self._puts:
                scope.cancel()
        await super().app_send(message)

    def _waits_for_accept(self) -> bool:
        return bool(self._early) or not self._accepted.is_set()

    def _is_behind_early_data(self) -> bool:
        """Whether early data is being taken, and this is not called because of that."""
        taker = self._early_taker
        return bool(
            self._early and self._accepted.is_set() and taker != anyio.get_current_task().id
        )

    async def _keep(self, event: Body | Data) -> None:
        if self._early_bytes > EARLY_BYTES:
            await self._accepted.wait()
        self._early.append(event)
        self._early_bytes += len(event.data)

    async def _accept(self, message: Any) -> None:
        if getattr(self.config, "websocket_compression", Config.websocket_compression):
            limit = self.config.websocket_max_message_size
            accept = rebound(
                type(self.handshake).accept, PerMessageDeflate=partial(BoundedDeflate, limit)
            )
            # It negotiates what the client offered, with our class.
            self.handshake.accept = MethodType(accept, self.handshake)  # type: ignore[method-assign]
        else:
            self.handshake.extensions = None  # as if the client had offered none
        await super()._accept(message)
        self._accepted.set()
        if self._early:
            # Not from here: this is the application's task, which must be free to receive.
            tasks: Any = self.task_group
            tasks.spawn(self._take_early)

    async def _take_early(self) -> None:
        self._early_taker = anyio.get_current_task().id
        while self._early:
            await super().handle(self._early[0])
            del self._early[0]
        self._early_taken.set()

    async def _handle_events(self) -> None:
        await super()._handle_events()
        if (
            self.state is ASGIWebsocketState.CONNECTED
            and self.connection.state is ConnectionState.LOCAL_CLOSING
        ):
            # The message was too large, and the close with 1009 is out.
            await self.send(StreamClosed(stream_id=self.stream_id))

    async def _send_pings(self) -> None:
        while not self.closed:
            await self._send_wsproto_event(Ping())
            with anyio.move_on_after(self.config.websocket_ping_interval):
                await self._ended.wait()


class _H11(H11Protocol):
    __module__ = H11Protocol.__module__
    _create_stream = rebound(H11Protocol._create_stream, WSStream=WebSocketStream)


class _H2(H2Protocol):
    __module__ = H2Protocol.__module__
    _create_stream = rebound(H2Protocol._create_stream, WSStream=WebSocketStream)


class Protocol(ProtocolWrapper):
    """What speaks HTTP/1 or HTTP/2 on one network connection."""

    __init__ = rebound(ProtocolWrapper.__init__, H11Protocol=_H11, H2Protocol=_H2)
    handle = rebound(ProtocolWrapper.handle, H2Protocol=_H2)

    def waits_for_application(self) -> int | None:
        """How many events the WebSockets have taken, if one of them takes no more at the moment.

        Hypercorn then reads nothing from the network, whatever comes.
        """
        if isinstance(self.protocol, H2Protocol):
            streams: list[Any] = list(self.protocol.streams.values())
        else:
            streams = [self.protocol.stream]
        ours = [stream for stream in streams if isinstance(stream, WebSocketStream)]
        if any(stream.is_full for stream in ours):
            return sum(stream.delivered for stream in ours)
        return None
