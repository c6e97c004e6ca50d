"""A stream that remembers why it broke, and sends nothing after half a frame.

trio-websocket loses both facts. Its reader swallows the exception of a broken stream, and its
senders raise ``ConnectionClosed ... from None``, where the stream's error and the `OSError` survive
only as context. After a send that was cancelled in the middle of a frame it sends the next frame.
"""

from __future__ import annotations

import trio


class WatchedStream(trio.abc.Stream):
    """A stream between trio-websocket and the network.

    Args:
        stream: The stream to the peer.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.torn = False
        """A send is under way, or was cancelled. The peer would read the next frame as the rest of
        that one."""
        self.error: Exception | None = None
        """Why the stream broke: the `OSError` if there is one. `None` while it works."""
        self.budget: int | None = None
        """How many more bytes may be received. The stream counts as broken at the first call after
        they are used up. `None` means no limit."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything. After a call that did not send everything, every call fails."""
        if self.torn:
            raise trio.BrokenResourceError(
                "half a frame has been sent, and nothing may follow it: close the connection"
            )
        # Set before the send and cleared after it, so that a cancellation in between leaves it set.
        self.torn = True
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as exc:
            self._note(exc)
            raise
        self.torn = False

    async def wait_send_all_might_not_block(self) -> None:
        """As in `trio.abc.Stream`."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As in `trio.abc.Stream`."""
        if self.budget is not None and self.budget <= 0:
            self.error = OSError("the peer sends more than a handshake may have")
            raise trio.BrokenResourceError("too much was received") from self.error
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as exc:
            self._note(exc)
            raise
        if self.budget is not None:
            self.budget -= len(data)
        return data

    async def aclose(self) -> None:
        """As in `trio.abc.Stream`."""
        await self._stream.aclose()

    def _note(self, exc: Exception) -> None:
        if self.error is None:
            self.error = broken_stream_in(exc)


def broken_stream_in(exc: BaseException) -> Exception | None:
    """Find out why a stream broke from an exception and its causes.

    Args:
        exc: The exception, such as trio-websocket's ``ConnectionClosed``.

    Returns:
        The `OSError`. Without one, trio's ``BrokenResourceError``. `None` if the exception is not
        about a broken stream.
    """
    broken: Exception | None = None
    under: BaseException | None = exc
    while under is not None:
        if isinstance(under, OSError):
            return under
        if isinstance(under, trio.BrokenResourceError):
            broken = under
        under = under.__cause__ or under.__context__
    return broken
