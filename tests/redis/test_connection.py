"""The connection to Redis."""

import runpy
import sys

import anyio
import pytest

from tests.redis._peer import MemoryStream, Peer
from wsnursery.redis import _connection
from wsnursery.redis._connection import ConnectionLost, RedisConnection, RedisError
from wsnursery.redis._stream_transfer import StreamTransfer


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hiredis", None)
    with pytest.raises(ImportError, match=r"pip install 'wsnursery\[redis\]'"):
        runpy.run_path(_connection.__file__)


def ignore(push):
    """Nothing is pushed in these tests."""


@pytest.mark.parametrize("end", [MemoryStream.end, MemoryStream.break_])
async def test_a_refusal_is_why_the_connection_is_closed_after_it(end):
    """Also if the task that waits for the reply has not run by then."""
    stream = MemoryStream(Peer())
    replies: list[object] = []
    connection = RedisConnection(ignore)
    read, _ = StreamTransfer(stream, connection).tasks
    connection.request("HELLO", "3", then=replies.append)
    stream.put(b"-ERR max number of clients reached\r\n")
    end(stream)
    with pytest.raises(RedisError, match="ERR max number of clients reached"):
        await read()
    assert len(replies) == 1


async def test_a_refusal_is_no_reason_if_redis_goes_on():
    stream = MemoryStream(Peer())
    replies: list[object] = []
    connection = RedisConnection(ignore)
    read, _ = StreamTransfer(stream, connection).tasks
    for _ in range(2):
        connection.request("PING", then=replies.append)
    stream.put(b"-ERR not now\r\n+PONG\r\n")
    stream.end()
    with pytest.raises(ConnectionLost, match="Redis has closed the connection"):
        await read()
    assert replies[1] == b"PONG"


async def test_the_reader_has_a_second_to_find_the_end_after_a_write_has_failed():
    stream = MemoryStream(Peer())
    stream.is_broken = True
    connection = RedisConnection(ignore)
    _, write = StreamTransfer(stream, connection).tasks
    connection.send("PING")
    began = anyio.current_time()
    with pytest.raises(ConnectionLost, match="the connection to Redis is broken: pipe"):
        await write()
    assert anyio.current_time() - began == pytest.approx(1)
