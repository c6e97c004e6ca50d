"""The stream between trio-websocket and the network."""

from typing import Any

import pytest
import trio
from trio.testing import lockstep_stream_pair, memory_stream_pair
from trio_websocket import CloseReason, ConnectionClosed

from wsnursery.testing import virtual_backend
from wsnursery.trio_websocket._stream import WatchedStream, broken_stream_in


@pytest.fixture
def anyio_backend():
    return virtual_backend("trio")


def broken_by(error: OSError) -> WatchedStream:
    """A stream on which every call fails as on a socket."""
    stream, _ = memory_stream_pair()

    async def fail(*_: object) -> Any:
        raise trio.BrokenResourceError from error

    stream.send_stream.send_all = fail  # type: ignore[method-assign, assignment]
    stream.receive_stream.receive_some = fail  # type: ignore[method-assign, assignment]
    return WatchedStream(stream)


async def test_it_is_the_stream_below():
    ours, theirs = memory_stream_pair()
    stream = WatchedStream(ours)
    await stream.wait_send_all_might_not_block()
    await stream.send_all(b"there")
    assert await theirs.receive_some() == b"there"
    await theirs.send_all(b"back")
    assert await stream.receive_some(2) == b"ba"
    await stream.aclose()
    assert await theirs.receive_some() == b""
    assert stream.error is None


async def test_it_keeps_the_first_error():
    first = ConnectionResetError("first")
    stream = broken_by(first)
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")
    assert stream.error is first


async def test_nothing_follows_half_a_frame():
    ours, theirs = lockstep_stream_pair()
    stream = WatchedStream(ours)
    with trio.move_on_after(1):
        await stream.send_all(b"half a frame")
    assert stream.torn
    with pytest.raises(trio.BrokenResourceError, match="half a frame has been sent"):
        await stream.send_all(b"the next one")
    await stream.aclose()
    assert await theirs.receive_some(1000) == b"half a frame"
    assert await theirs.receive_some(1000) == b""


def test_the_oserror_under_connection_closed():
    error = ConnectionResetError("reset")

    def hide() -> None:
        try:
            try:
                raise error
            except OSError as exc:
                raise trio.BrokenResourceError from exc
        except trio.BrokenResourceError:
            raise ConnectionClosed(CloseReason(1006, None)) from None

    with pytest.raises(ConnectionClosed) as caught:
        hide()
    assert broken_stream_in(caught.value) is error


def test_a_broken_stream_without_an_oserror():
    error = trio.BrokenResourceError()
    assert broken_stream_in(error) is error


def test_a_connection_that_the_peer_closed():
    assert broken_stream_in(ConnectionClosed(CloseReason(1000, None))) is None
