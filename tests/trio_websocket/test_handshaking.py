"""The opening handshake over a stream, on both sides."""

from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import ConnectionRejected
from wsproto.events import AcceptConnection, CloseConnection, TextMessage

from tests.trio_websocket._peers import Peer
from wsnursery import Options
from wsnursery.testing import virtual_backend
from wsnursery.trio_websocket._handshaking import open_client, open_server
from wsnursery.trio_websocket._reader import BackgroundTasks, shielded_nursery
from wsnursery.trio_websocket._request import ClientRequest
from wsnursery.trio_websocket._stream import WatchedStream

REQUEST = ClientRequest("example.org", "/", ["chat"], [(b"x-id", b"1")])


@pytest.fixture
def anyio_backend():
    return virtual_backend("trio")


async def test_handshake_of_both_sides():
    ours, theirs = memory_stream_pair()
    async with shielded_nursery() as first, shielded_nursery() as second:
        first.start_soon(serve, theirs, first)
        tasks = BackgroundTasks(second)
        connection = await open_client(tasks, WatchedStream(ours), REQUEST, Options())
        assert connection.subprotocol == "chat"
        assert await connection.get_message() == "1"
        await connection.aclose()


async def serve(stream: trio.abc.Stream, nursery: trio.Nursery) -> None:
    request = await open_server(BackgroundTasks(nursery), WatchedStream(stream), Options())
    assert request is not None
    connection = await request.accept(subprotocol="chat")
    await connection.send_message(dict(request.headers)[b"x-id"].decode())


async def refused(answer: bytes) -> OSError:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(answer)
    await theirs.send_stream.aclose()
    async with shielded_nursery() as nursery:
        tasks = BackgroundTasks(nursery)
        with pytest.raises(OSError, match="handshake") as caught:
            await open_client(tasks, WatchedStream(ours), REQUEST, Options())
    return caught.value


async def test_a_server_of_something_else():
    error = await refused(b"220 mail.example.org ESMTP\r\n")
    assert str(error) == (
        "example.org has not answered with a WebSocket handshake: is it a WebSocket server?"
    )


async def test_a_server_that_leaves():
    ours, theirs = memory_stream_pair()
    await theirs.aclose()
    async with shielded_nursery() as nursery:
        with pytest.raises(ConnectionError, match="is it a WebSocket server") as caught:
            await open_client(BackgroundTasks(nursery), WatchedStream(ours), REQUEST, Options())
    assert isinstance(caught.value.__cause__, trio.BrokenResourceError)


async def test_a_server_that_resets():
    reset = ConnectionResetError("reset")
    ours, _ = memory_stream_pair()

    async def fail(*_: object) -> Any:
        raise trio.BrokenResourceError from reset

    ours.receive_stream.receive_some = fail  # type: ignore[method-assign, assignment]
    async with shielded_nursery() as nursery:
        with pytest.raises(ConnectionResetError) as caught:
            await open_client(BackgroundTasks(nursery), WatchedStream(ours), REQUEST, Options())
    assert caught.value is reset


async def test_a_server_that_rejects():
    ours, theirs = memory_stream_pair()
    async with shielded_nursery() as nursery:
        nursery.start_soon(Peer.server(theirs).reject, 404, b"nothing here")
        with pytest.raises(ConnectionRejected) as caught:
            await open_client(BackgroundTasks(nursery), WatchedStream(ours), REQUEST, Options())
    assert (caught.value.status_code, caught.value.body) == (404, b"nothing here")


@pytest.mark.parametrize(
    "request_", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\r\n"]
)
async def test_a_client_of_something_else(request_: bytes):
    ours, theirs = memory_stream_pair()
    await theirs.send_all(request_)
    await theirs.aclose()
    async with shielded_nursery() as nursery:
        assert await open_server(BackgroundTasks(nursery), WatchedStream(ours), Options()) is None


async def test_handshake_that_is_cancelled():
    ours, _ = memory_stream_pair()
    async with shielded_nursery() as nursery:
        with trio.move_on_after(3) as limit:
            await open_server(BackgroundTasks(nursery), WatchedStream(ours), Options())
        assert limit.cancelled_caught


async def test_everything_in_one_packet():
    """An answer, and the end right behind it: the handshake counts."""
    ours, theirs = memory_stream_pair()
    peer = Peer.server(theirs)

    async def answer() -> None:
        await peer.next()
        await peer.send(AcceptConnection(), CloseConnection(code=4001))
        await peer.vanish()

    async with shielded_nursery() as nursery:
        nursery.start_soon(answer)
        request = ClientRequest("example.org", "/", [], [])
        connection = await open_client(
            BackgroundTasks(nursery), WatchedStream(ours), request, Options()
        )
        await wait_all_tasks_blocked()
        assert connection.closed is not None
        assert connection.closed.code == 4001


async def test_messages_that_are_not_taken_do_not_get_lost():
    """The reader stops for a message that is too big; the one in front of it arrives."""
    ours, theirs = memory_stream_pair()
    peer = Peer.server(theirs)

    async def answer() -> None:
        await peer.next()
        await peer.send(AcceptConnection(), TextMessage(data="one"), TextMessage(data="x" * 99))

    async with shielded_nursery() as nursery:
        nursery.start_soon(answer)
        request = ClientRequest("example.org", "/", [], [])
        connection = await open_client(
            BackgroundTasks(nursery), WatchedStream(ours), request, Options(max_message_size=10)
        )
        await wait_all_tasks_blocked()
        assert await connection.get_message() == "one"
