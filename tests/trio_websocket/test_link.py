"""The tasks behind a connection, and its handshake over a stream."""

from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import ConnectionRejected
from wsproto.events import AcceptConnection, CloseConnection, TextMessage

from tests.trio_websocket._peers import Peer
from wsnursery import Options
from wsnursery.testing import virtual_backend
from wsnursery.trio_websocket._link import (
    LINGER_SECONDS,
    Background,
    Request,
    lingering,
    open_client,
    open_server,
    sheltered,
)
from wsnursery.trio_websocket._stream import WatchedStream

REQUEST = Request("example.org", "/", ["chat"], [(b"x-id", b"1")])


@pytest.fixture
def anyio_backend():
    return virtual_backend("trio")


# -------------------------------------------------------------------------------------- sheltered


async def test_tasks_outlive_a_cancellation_and_not_the_block():
    lived = trio.Event()
    ended = trio.Event()

    async def live() -> None:
        try:
            await trio.sleep(1)
            lived.set()
            await trio.sleep_forever()
        finally:
            ended.set()

    with trio.CancelScope() as outside:
        async with sheltered() as nursery:
            nursery.start_soon(live)
            outside.cancel()
            with trio.CancelScope(shield=True):
                await lived.wait()
    assert ended.is_set()


@pytest.mark.parametrize("error", [LookupError("x"), ExceptionGroup("mine", [ValueError("x")])])
async def test_what_the_block_raises_leaves_bare(error: Exception):
    with pytest.raises(type(error)) as caught:
        async with sheltered():
            raise error
    assert caught.value is error


async def test_cancellation_leaves_bare():
    with trio.CancelScope() as scope:
        async with sheltered():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_cancelled_before_it_begins():
    with trio.CancelScope() as scope:
        scope.cancel()
        async with sheltered():
            raise AssertionError("the block must not run")
    assert scope.cancelled_caught


# contract: X6
async def test_interrupt_in_a_task():
    async def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with sheltered() as nursery:
            nursery.start_soon(interrupt)
            await trio.sleep_forever()


# ------------------------------------------------------------------------------------- background


async def test_a_reader_that_fails():
    bug = ZeroDivisionError("bug")

    async def fail() -> None:
        raise bug

    async with sheltered() as nursery:
        tasks = Background(nursery)
        tasks.start_soon(fail)
        await tasks.over.wait()
        assert tasks.reader_ended.is_set()
        assert tasks.error is bug


async def test_other_tasks():
    done = trio.Event()

    async def work() -> None:
        done.set()

    async with sheltered() as nursery:
        Background(nursery).run(work)
        await done.wait()


# -------------------------------------------------------------------------------------- handshakes


async def test_handshake_of_both_sides():
    ours, theirs = memory_stream_pair()
    async with sheltered() as first, sheltered() as second:
        first.start_soon(serve, theirs, first)
        tasks = Background(second)
        connection = await open_client(tasks, WatchedStream(ours), REQUEST, Options())
        assert connection.subprotocol == "chat"
        assert await connection.get_message() == "1"
        await connection.aclose()


async def serve(stream: trio.abc.Stream, nursery: trio.Nursery) -> None:
    request = await open_server(Background(nursery), WatchedStream(stream), Options())
    assert request is not None
    connection = await request.accept(subprotocol="chat")
    await connection.send_message(dict(request.headers)[b"x-id"].decode())


async def refused(answer: bytes) -> OSError:
    ours, theirs = memory_stream_pair()
    await theirs.send_all(answer)
    await theirs.send_stream.aclose()
    async with sheltered() as nursery:
        tasks = Background(nursery)
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
    async with sheltered() as nursery:
        with pytest.raises(ConnectionError, match="is it a WebSocket server") as caught:
            await open_client(Background(nursery), WatchedStream(ours), REQUEST, Options())
    assert isinstance(caught.value.__cause__, trio.BrokenResourceError)


async def test_a_server_that_resets():
    reset = ConnectionResetError("reset")
    ours, _ = memory_stream_pair()

    async def fail(*_: object) -> Any:
        raise trio.BrokenResourceError from reset

    ours.receive_stream.receive_some = fail  # type: ignore[method-assign, assignment]
    async with sheltered() as nursery:
        with pytest.raises(ConnectionResetError) as caught:
            await open_client(Background(nursery), WatchedStream(ours), REQUEST, Options())
    assert caught.value is reset


async def test_a_server_that_rejects():
    ours, theirs = memory_stream_pair()
    async with sheltered() as nursery:
        nursery.start_soon(Peer.server(theirs).reject, 404, b"nothing here")
        with pytest.raises(ConnectionRejected) as caught:
            await open_client(Background(nursery), WatchedStream(ours), REQUEST, Options())
    assert (caught.value.status_code, caught.value.body) == (404, b"nothing here")


@pytest.mark.parametrize(
    "request_", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\r\n"]
)
async def test_a_client_of_something_else(request_: bytes):
    ours, theirs = memory_stream_pair()
    await theirs.send_all(request_)
    await theirs.aclose()
    async with sheltered() as nursery:
        assert await open_server(Background(nursery), WatchedStream(ours), Options()) is None


async def test_handshake_that_is_cancelled():
    ours, _ = memory_stream_pair()
    async with sheltered() as nursery:
        with trio.move_on_after(3) as limit:
            await open_server(Background(nursery), WatchedStream(ours), Options())
        assert limit.cancelled_caught


async def test_everything_in_one_packet():
    """An answer, and the end right behind it: the handshake counts."""
    ours, theirs = memory_stream_pair()
    peer = Peer.server(theirs)

    async def answer() -> None:
        await peer.next()
        await peer.send(AcceptConnection(), CloseConnection(code=4001))
        await peer.vanish()

    async with sheltered() as nursery:
        nursery.start_soon(answer)
        request = Request("example.org", "/", [], [])
        connection = await open_client(Background(nursery), WatchedStream(ours), request, Options())
        await wait_all_tasks_blocked()
        assert connection.closed is not None
        assert connection.closed.code == 4001


# --------------------------------------------------------------------------------------- lingering


async def test_lingering_until_the_peer_has_read_to_the_end():
    ours, theirs = memory_stream_pair()
    stream = WatchedStream(ours)
    async with sheltered() as nursery:
        tasks = Background(nursery)

        async def peer() -> None:
            await trio.sleep(0.1)
            tasks.reader_ended.set()
            await theirs.send_all(b"still sending")
            await trio.sleep(0.1)
            await theirs.send_stream.aclose()

        nursery.start_soon(peer)
        async with lingering(stream, tasks, lambda: True):
            pass
    assert trio.current_time() == pytest.approx(0.2)


async def test_lingering_is_bounded():
    ours, _ = memory_stream_pair()
    stream = WatchedStream(ours)
    async with sheltered() as nursery, lingering(stream, Background(nursery), lambda: True):
        pass
    assert trio.current_time() == LINGER_SECONDS


async def test_lingering_behind_a_closed_stream():
    ours, _ = memory_stream_pair()
    await ours.aclose()
    async with sheltered() as nursery:
        tasks = Background(nursery)
        tasks.reader_ended.set()
        async with lingering(WatchedStream(ours), tasks, lambda: True):
            pass
    assert trio.current_time() == 0


async def test_no_lingering_behind_half_a_frame():
    ours, _ = memory_stream_pair()
    stream = WatchedStream(ours)
    stream.torn = True
    async with sheltered() as nursery, lingering(stream, Background(nursery), lambda: True):
        pass
    assert trio.current_time() == 0


async def test_no_lingering_without_a_close_frame():
    ours, _ = memory_stream_pair()
    stream = WatchedStream(ours)
    async with sheltered() as nursery, lingering(stream, Background(nursery), lambda: False):
        pass
    assert trio.current_time() == 0


async def test_messages_that_are_not_taken_do_not_get_lost():
    """The reader stops for a message that is too big; the one in front of it arrives."""
    ours, theirs = memory_stream_pair()
    peer = Peer.server(theirs)

    async def answer() -> None:
        await peer.next()
        await peer.send(AcceptConnection(), TextMessage(data="one"), TextMessage(data="x" * 99))

    async with sheltered() as nursery:
        nursery.start_soon(answer)
        request = Request("example.org", "/", [], [])
        connection = await open_client(
            Background(nursery), WatchedStream(ours), request, Options(max_message_size=10)
        )
        await wait_all_tasks_blocked()
        assert await connection.get_message() == "one"
