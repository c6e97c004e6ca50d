"""Hypercorn's protocol classes, hardened against hostile clients.

Hypercorn has no setting for its classes: its functions refer to them as globals of their modules.
`rebound` makes a copy of such a function with another class under that name. So no code of
Hypercorn is duplicated, and another Hypercorn in the same process is not affected.
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
"""Bytes that are kept before the handshake is accepted. Then the server stops reading."""


def rebound(function: Any, **names: object) -> Any:
    """Return a copy of a function, with other objects under some of its global or builtin names.

    Raises:
        AttributeError: There is no such name, because this version of Hypercorn differs.
    """
    missing = names.keys() - function.__globals__.keys() - {*function.__code__.co_names}
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

    - Data that arrives before the handshake is accepted is kept until then. Hypercorn alone
      answers it with 400 in the middle of the handshake, and never notifies the application of the
      end.
    - permessage-deflate is off, or bounded.
    - A message that is too large ends the connection. Hypercorn alone waits until the client does.
    - When the application has ended, no event waits for it any more.
    - The task that pings ends with the connection, not at the next ping. Until it ends, it keeps
      the memory and the descriptor of the connection.
    """

    # Set Hypercorn's module, because `wsnursery.asgi` recognises the class by its name. The same
    # applies to the two classes below.
    __module__ = WSStream.__module__

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._early: list[Event] = []
        self._early_bytes = 0
        self._accepted = anyio.Event()
        self._early_taken = anyio.Event()
        self._early_taker: int | None = None
        """The id of the task that handles the early data."""
        self._ended = anyio.Event()
        self._left = False
        self._puts: set[anyio.CancelScope] = set()
        self.delivered = 0
        """The number of events that the application's queue has taken."""

    async def handle(self, event: Event) -> None:
        """Handle one event of the network connection."""
        if isinstance(event, Body | Data) and not self.closed and self._waits_for_accept():
            await self._keep(event)
            return
        if isinstance(event, StreamClosed) and self._is_behind_early_data():
            await self._early_taken.wait()  # data from before the end is still delivered
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
        """Handle one event of the application; `None` when it has ended."""
        if message is None:
            self._left = True
            for scope in self._puts:
                scope.cancel()
        await super().app_send(message)

    def _waits_for_accept(self) -> bool:
        return bool(self._early) or not self._accepted.is_set()

    def _is_behind_early_data(self) -> bool:
        """Whether another task is handling the early data."""
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
            # Negotiate what the client offered, with our class.
            self.handshake.accept = MethodType(accept, self.handshake)  # type: ignore[method-assign]
        else:
            self.handshake.extensions = None  # as if the client had offered none
        await super()._accept(message)
        self._accepted.set()
        if self._early:
            # Use another task, because this is the application's task, which must be able to
            # receive.
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
            # The message was too large, and the close with 1009 has been sent.
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
    """The protocol of one network connection, HTTP/1 or HTTP/2."""

    __init__ = rebound(ProtocolWrapper.__init__, H11Protocol=_H11, H2Protocol=_H2)
    handle = rebound(ProtocolWrapper.handle, H2Protocol=_H2)

    def waits_for_application(self) -> int | None:
        """The number of events that the WebSockets have taken, if one of them is now full.

        While one is full, Hypercorn does not read from the network.
        """
        if isinstance(self.protocol, H2Protocol):
            streams: list[Any] = list(self.protocol.streams.values())
        else:
            streams = [self.protocol.stream]
        ours = [stream for stream in streams if isinstance(stream, WebSocketStream)]
        if any(stream.is_full for stream in ours):
            return sum(stream.delivered for stream in ours)
        return None
