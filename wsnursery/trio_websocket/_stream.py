"""A stream that remembers why it broke and never continues after half a frame.

trio-websocket hides both. Its reader swallows the exception of a broken stream; its senders raise
``ConnectionClosed ... from None``, under which the stream's error and the `OSError` survive only as
context. And a send that is cancelled in the middle of a frame is followed by the next frame.
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
        """A send is under way, or one has been given up: the next frame would be taken for a part
        of that one."""
        self.error: Exception | None = None
        """Why it broke, once it has: the `OSError` itself where there is one."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; after a call that could not, nothing is sent any more."""
        if self.torn:
            raise trio.BrokenResourceError("a frame was left half-sent: nothing may follow it")
        self.torn = True
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as exc:
            self._note(exc)
            raise
        self.torn = False

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream below."""
        try:
            return await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as exc:
            self._note(exc)
            raise

    async def aclose(self) -> None:
        """As the stream below."""
        await self._stream.aclose()

    def _note(self, exc: Exception) -> None:
        if self.error is None:
            self.error = broken_stream_in(exc)


def broken_stream_in(exc: BaseException) -> Exception | None:
    """The reason why a stream broke, dug out of an exception: an `OSError` if there is one.

    Args:
        exc: For instance trio-websocket's ``ConnectionClosed``.

    Returns:
        The `OSError`, or trio's ``BrokenResourceError`` where no `OSError` is under it, or `None`
        when the exception is not about a broken stream.
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
