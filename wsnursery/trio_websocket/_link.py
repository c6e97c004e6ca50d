"""From a stream to a connection of trio-websocket, with its reader task under control.

trio-websocket runs the reader of a connection in a nursery of the caller's. What goes wrong there
would cancel that nursery's block, and when the reader ends before the handshake is complete, those
who wait for the handshake are not told. `Background` cures both.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar, cast

import trio
from trio_websocket import (
    ConnectionRejected,
    WebSocketConnection,
    WebSocketRequest,
    wrap_client_stream,
    wrap_server_stream,
)

from wsnursery._engine.outcome import leaves, without
from wsnursery._options import Options

from ._stream import WatchedStream

T = TypeVar("T")

LINGER_SECONDS = 0.5
"""The longest that a stream stays open behind the close frame, for the peer to take it: closing a
socket with unread data resets the connection, and the reset overtakes the frame."""


class Background:
    """The tasks behind one connection.

    It is what trio-websocket gets for a nursery: as trio's own ``serve_listeners`` it calls nothing
    but `start_soon`.

    Args:
        nursery: Where they run: a `sheltered` one.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.reader_ended = trio.Event()
        """The reader has ended: nobody else reads the stream any more."""
        self.over = trio.Event()
        """Nothing more will come from the peer: the reader has ended, or both sides have closed."""
        self.error: Exception | None = None
        """What ended the reader, if it did not end by itself."""

    def start_soon(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """Start the reader."""
        self._nursery.start_soon(self._read, async_fn)

    async def _read(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        try:
            await async_fn()
        except Exception as exc:  # noqa: BLE001 - the transport tells it
            self.error = exc
        finally:
            self.reader_ended.set()
            self.over.set()

    def run(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """Start another task, which must not raise."""
        self._nursery.start_soon(async_fn)

    async def unless_over(self, async_fn: Callable[[trio.Nursery], Awaitable[T]]) -> T | None:
        """Call a function of trio-websocket that starts the reader and waits for it.

        Returns:
            What the function returns, or `None` if the reader ended before.
        """
        result: T | None = None
        async with trio.open_nursery() as nursery:

            async def cancel_when_over() -> None:
                await self.reader_ended.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(cancel_when_over)
            result = await async_fn(cast("trio.Nursery", self))
            nursery.cancel_scope.cancel()
        return result


@asynccontextmanager
async def sheltered() -> AsyncGenerator[trio.Nursery]:
    """Run tasks behind a block: they end with it, and a cancellation from outside spares them.

    So they still carry the close frame of a block that is being cancelled. What the block raises
    leaves bare. The tasks must not raise.
    """
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            inner = await nursery.start(_shelter)
            try:
                yield inner
            except BaseException as exc:  # noqa: ASYNC103, BLE001 - it leaves below, bare
                error = exc
            inner.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The tasks do not raise, but Ctrl-C may hit any of them, and a cancellation the beginning.
        interrupts = without(group, lambda exc: isinstance(exc, trio.Cancelled))
        error = leaves(interrupts or group)[0]
    if error is not None:
        try:
            raise error
        finally:
            del error


async def _shelter(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    # Cancelled already, `started` would leave this task with the one that waits for it, and the
    # shield would keep both for ever.
    await trio.lowlevel.checkpoint_if_cancelled()
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await trio.sleep_forever()


@asynccontextmanager
async def lingering(
    stream: WatchedStream, tasks: Background, said_close: Callable[[], bool]
) -> AsyncGenerator[None]:
    """Leave the stream open for a moment after the block, so that the peer can read to its end.

    Args:
        stream: The stream.
        tasks: What runs behind the connection.
        said_close: Whether there is a close frame of ours to be read. Where the peer has broken the
            protocol there is none, and the stream has to be closed at once (RFC 6455 §7.1.7).
    """
    try:
        yield
    finally:
        if said_close() and not stream.torn and stream.error is None:
            with trio.move_on_after(LINGER_SECONDS, shield=True):
                await tasks.reader_ended.wait()
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    while await stream.receive_some():
                        pass


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks a server for."""

    host: str
    resource: str
    subprotocols: list[str]
    headers: list[tuple[bytes, bytes]]


async def open_client(
    tasks: Background, stream: WatchedStream, request: Request, options: Options
) -> WebSocketConnection:
    """Ask for a WebSocket and wait for the answer.

    Raises:
        ConnectionRejected: The server has answered with something else.
        OSError: The stream broke, or the server has not answered with a WebSocket handshake.
    """

    async def shake_hands(nursery: trio.Nursery) -> WebSocketConnection:
        return await wrap_client_stream(
            nursery,
            cast("trio.SocketStream", stream),  # it takes any stream, its annotation does not
            request.host,
            request.resource,
            subprotocols=request.subprotocols,
            extra_headers=request.headers,
            # The reader hands each message over, so that none is lost when it stops in between.
            message_queue_size=0,
            max_message_size=options.max_message_size,
            receive_buffer_size=None,
        )

    connection = await tasks.unless_over(shake_hands)
    if connection is not None:
        return connection
    error = tasks.error or stream.error
    if isinstance(error, ConnectionRejected | OSError):
        raise error
    raise ConnectionError(
        f"{request.host} has not answered with a WebSocket handshake: is it a WebSocket server?"
    ) from error


async def open_server(
    tasks: Background, stream: WatchedStream, options: Options
) -> WebSocketRequest | None:
    """Wait for a client's handshake; `None` if it sends something else or leaves."""

    async def wait_for_request(nursery: trio.Nursery) -> WebSocketRequest:
        return await wrap_server_stream(
            nursery,
            stream,
            message_queue_size=0,
            max_message_size=options.max_message_size,
            receive_buffer_size=None,
        )

    return await tasks.unless_over(wait_for_request)
