"""The tasks behind one connection: trio-websocket's reader, and those of this library.

trio-websocket runs the reader of a connection in a nursery that its caller passes in. An error of
the reader would cancel that nursery's block, and a reader that ends before the handshake is
complete leaves the task that waits for the handshake waiting for ever. `BackgroundTasks` prevents
both.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar, cast

import trio

from wsnursery._engine.outcome import leaves, without

from ._stream import WatchedStream

T = TypeVar("T")

LINGER_SECONDS = 0.5
"""The longest that a stream stays open after the close frame, so that the peer can read it."""


class BackgroundTasks:
    """The tasks behind one connection.

    trio-websocket is given this object in place of a nursery. Like trio's own ``serve_listeners``,
    it calls only `start_soon` on it.

    Args:
        nursery: Where the tasks run: a `shielded_nursery`.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.reader_ended = trio.Event()
        """The reader has ended: no other task reads the stream any more."""
        self.peer_ended = trio.Event()
        """Nothing more will come from the peer: the reader has ended, or both sides have closed."""
        self.error: Exception | None = None
        """What the reader raised; `None` while it runs, and if it returned."""

    def start_soon(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """Start the reader."""
        self._nursery.start_soon(self._read, async_fn)

    async def _read(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        try:
            await async_fn()
        except Exception as exc:  # noqa: BLE001 - the transport reports it
            self.error = exc
        finally:
            self.reader_ended.set()
            self.peer_ended.set()

    def run(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """Start another task, which must not raise."""
        self._nursery.start_soon(async_fn)

    async def unless_reader_ends(
        self, async_fn: Callable[[trio.Nursery], Awaitable[T]]
    ) -> T | None:
        """Call a function of trio-websocket that starts the reader and waits for it.

        Returns:
            What the function returns, or `None` if the reader ended first.
        """
        result: T | None = None
        async with trio.open_nursery() as nursery:

            async def cancel_when_the_reader_ends() -> None:
                await self.reader_ended.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(cancel_when_the_reader_ends)
            # The annotation asks for a nursery, although only `start_soon` is used.
            result = await async_fn(cast("trio.Nursery", self))
            nursery.cancel_scope.cancel()
        return result


@asynccontextmanager
async def shielded_nursery() -> AsyncGenerator[trio.Nursery]:
    """Run tasks until the block ends, shielded from a cancellation of the block.

    The close frame of a block that is being cancelled still needs these tasks. What the block
    raises leaves without an exception group around it. The tasks must not raise.
    """
    error: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            inner = await nursery.start(_hold_shielded_nursery)
            try:
                yield inner
            except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is raised below, bare
                # Raised here, it would leave the nursery inside an exception group.
                error = exc
            inner.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The tasks do not raise, but Ctrl-C may hit any of them, and a cancellation may hit the
        # start of the inner nursery. Ctrl-C must not be hidden behind a cancellation.
        interrupts = without(group, lambda exc: isinstance(exc, trio.Cancelled))
        error = leaves(interrupts or group)[0]
    if error is not None:
        try:
            raise error
        finally:
            # This frame is in the traceback of `error`: without this line, the two would form a
            # reference cycle.
            del error


async def _hold_shielded_nursery(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    # If the caller is cancelled already, `started` would leave this task in the caller's nursery,
    # where the shield would keep both of them for ever.
    await trio.lowlevel.checkpoint_if_cancelled()
    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            task_status.started(nursery)
            await trio.sleep_forever()


@asynccontextmanager
async def lingering(
    stream: WatchedStream, tasks: BackgroundTasks, sent_close: Callable[[], bool]
) -> AsyncGenerator[None]:
    """Keep the stream open for at most `LINGER_SECONDS` after the block.

    Closing a socket that holds unread data resets the connection, and the reset overtakes the close
    frame. So what the peer still sends is read first, and the peer can read to its end.

    Args:
        stream: The stream.
        tasks: The tasks behind the connection.
        sent_close: Whether this side has sent a close frame. After a protocol error of the peer
            there is none, and the stream must be closed at once (RFC 6455 §7.1.7).
    """
    try:
        yield
    finally:
        # After half a frame, or on a broken stream, the peer cannot read a close frame.
        if sent_close() and not stream.torn and stream.error is None:
            with trio.move_on_after(LINGER_SECONDS, shield=True):
                # Two tasks must not read a stream at once.
                await tasks.reader_ended.wait()
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    while await stream.receive_some():
                        pass
