"""Whether the socket of a server takes a whole message at once, on trio."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest

from wsnursery.asgi._in_place import LARGEST_IN_PLACE, SocketCapacity

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["unix", "tcp"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    if request.param == "unix":
        near, far = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
    near.setblocking(False)
    with near, far:
        yield near, far


def capacity(sock: socket.socket, *, closed: bool = False, locked: bool = False) -> SocketCapacity:
    return SocketCapacity(SimpleNamespace(closed=closed), lambda: locked, sock)


def fill(sock: socket.socket) -> int:
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += sock.send(bytes(1024))
    return sent


def test_it_takes_messages_until_the_buffer_is_full(pair: Pair) -> None:
    near, far = pair
    asked = capacity(near)
    assert asked.takes(0)
    assert asked.takes(LARGEST_IN_PLACE)
    sent = fill(near)
    assert not asked.takes(0)
    far.settimeout(5)
    while sent:
        sent -= len(far.recv(1 << 16))
    assert asked.takes(0)


def test_a_unix_socket_takes_messages_until_its_whole_buffer_is_in_use() -> None:
    """poll(2) calls it writable only until a quarter is."""
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        asked, allowed, taken = capacity(near), 0, 0
        with suppress(BlockingIOError):
            while True:
                is_allowed = asked.takes(64)
                near.send(bytes(64))
                taken += 1
                allowed += is_allowed
        assert allowed == taken
        assert not asked.takes(64)


def test_it_takes_no_large_message(pair: Pair) -> None:
    assert not capacity(pair[0]).takes(LARGEST_IN_PLACE + 1)


def test_a_closed_stream_or_a_send_under_way_takes_nothing(pair: Pair) -> None:
    assert not capacity(pair[0], closed=True).takes(1)
    assert not capacity(pair[0], locked=True).takes(1)


def test_a_closed_socket_lets_the_raw_send_raise(pair: Pair) -> None:
    asked = capacity(pair[0])
    pair[0].close()
    assert asked.takes(1)
