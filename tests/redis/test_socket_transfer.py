"""The transfer in callbacks of asyncio, over real sockets and in real time."""

import asyncio
import socket
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute

from tests.redis._peer import MemoryStream, Peer
from wsnursery.redis import _socket_transfer
from wsnursery.redis._connection import ConnectionLost, RedisConnection, RedisError
from wsnursery.redis._socket_transfer import SocketTransfer
from wsnursery.redis._stream_transfer import StreamTransfer
from wsnursery.redis._transfer import transfer_over


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Wire:
    """A transfer, and the other end of its socket."""

    def __init__(self, sock: socket.socket, redis: socket.socket) -> None:
        self.pushes: list[object] = []
        self.replies: list[object] = []
        self.redis = redis
        self.connection = RedisConnection(self.pushes.append)
        self.transfer = SocketTransfer(sock.fileno(), self.connection)

    def ping(self, *words: str) -> None:
        self.connection.request("PING", *words, then=self.replies.append)

    async def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += await asyncio.get_running_loop().sock_recv(self.redis, 1 << 20)
        return data

    async def ends(self) -> None:
        [task] = self.transfer.tasks
        with anyio.fail_after(10):
            await task()


@asynccontextmanager
async def connected():
    sock, redis = socket.socketpair()
    with sock, redis:
        sock.setblocking(False)
        redis.setblocking(False)
        wire = Wire(sock, redis)
        try:
            yield wire
        finally:
            wire.transfer.close()


async def test_what_is_sent_in_one_turn_is_written_together():
    async with connected() as wire:
        ping = b"*1\r\n$4\r\nPING\r\n"
        wire.ping()
        wire.ping()
        assert await wire.read(1) == 2 * ping
        wire.redis.sendall(b"+one\r\n>1\r\n+push\r\n+t")
        while not wire.pushes:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        wire.redis.sendall(b"wo\r\n")
        wire.redis.close()
        with pytest.raises(ConnectionLost, match="Redis has closed the connection"):
            await wire.ends()
        assert (wire.replies, wire.pushes) == ([b"one", b"two"], [[b"push"]])


async def test_what_does_not_fit_is_written_later():
    async with connected() as wire:
        size = 1 << 22
        wire.ping("x" * size)
        await asyncio.sleep(0.01)
        wire.ping("y" * size)
        data = await wire.read(2 * size)
        assert (data.count(b"x"), data.count(b"y")) == (size, size)


async def test_a_full_socket_takes_nothing_at_first():
    async with connected() as wire:
        filled = 0
        with pytest.raises(BlockingIOError):
            while True:
                filled += wire.transfer._socket.send(b"x" * 1000)
        wire.ping()
        await asyncio.sleep(0.01)
        data = await wire.read(filled + 14)
        assert data.endswith(b"x*1\r\n$4\r\nPING\r\n")


async def test_a_connection_that_is_reset():
    async with connected() as wire:
        wire.ping()
        await asyncio.sleep(0.01)
        wire.redis.close()  # with unread data
        with pytest.raises(ConnectionLost, match=r"the connection to Redis is broken: .*reset"):
            await wire.ends()


async def test_a_refusal_is_read_after_a_write_has_failed():
    async with connected() as wire:
        wire.redis.sendall(b"-ERR max number of clients reached\r\n")
        wire.redis.close()
        wire.ping()
        with pytest.raises(RedisError, match="max number of clients"):
            await wire.ends()


async def test_a_write_that_fails_ends_it_after_some_time(monkeypatch):
    monkeypatch.setattr(_socket_transfer, "LAST_WORDS_SECONDS", 0.01)
    async with connected() as wire:
        wire.redis.shutdown(socket.SHUT_RD)
        wire.ping()
        with pytest.raises(ConnectionLost, match=r"the connection to Redis is broken: .*[Pp]ipe"):
            await wire.ends()
        wire.ping()  # is not written any more


async def test_data_that_are_not_from_redis():
    async with connected() as wire:
        wire.redis.sendall(b"nonsense\r\n")
        with pytest.raises(ConnectionLost, match="Protocol error"):
            await wire.ends()


async def test_nothing_happens_after_the_end():
    async with connected() as wire:
        wire.transfer._read()  # a socket that was readable and is no longer
        wire.ping()
        wire.transfer.close()
        await asyncio.sleep(0.01)
        with pytest.raises(BlockingIOError):
            wire.redis.recv(1)


async def test_without_callbacks_or_descriptors_for_sockets(monkeypatch):
    """As on Windows."""

    def refuse(*_):
        raise NotImplementedError

    def fail(_):
        raise OSError

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with listener, await anyio.connect_tcp("127.0.0.1", port) as stream:
        transfer = transfer_over(stream, RedisConnection(print))
        assert isinstance(transfer, SocketTransfer)
        transfer.close()
        transfer.close()
        monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
        assert isinstance(transfer_over(stream, RedisConnection(print)), StreamTransfer)
        monkeypatch.setattr("os.dup", fail)
        assert isinstance(transfer_over(stream, RedisConnection(print)), StreamTransfer)


async def test_a_stream_that_is_not_a_socket():
    transfer = transfer_over(MemoryStream(Peer()), RedisConnection(print))
    assert isinstance(transfer, StreamTransfer)
