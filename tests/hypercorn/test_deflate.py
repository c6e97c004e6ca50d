"""permessage-deflate: the inflated size of a message is limited; the rest is unchanged."""

import zlib

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event

from tests.servers._clients import frame
from wsnursery.hypercorn._deflate import BoundedDeflate

LIMIT = 1000


def connected() -> Connection:
    """A server's connection with the extension negotiated."""
    extension = BoundedDeflate(LIMIT)
    extension.accept("permessage-deflate")
    return Connection(ConnectionType.SERVER, [extension])


def deflated(payload: bytes, fin: bool = True) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    whole = frame(2, data[:-4])
    return bytes([(0xC0 if fin else 0x40) | 2]) + whole[1:]


def received(connection: Connection, *packets: bytes) -> list[Event]:
    events: list[Event] = []
    for packet in packets:
        connection.receive_data(packet)
        events += connection.events()
    return events


def sizes(events: list[Event]) -> list[int]:
    return [len(event.data) for event in events if isinstance(event, BytesMessage)]


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_a_message_within_the_limit_is_whole(size: int) -> None:
    connection = connected()
    events = received(connection, deflated(b"x" * size), deflated(b"y" * size))
    assert sizes(events) == [size, size]


def test_no_more_than_the_limit_is_inflated() -> None:
    connection = connected()
    packet = deflated(bytes(10_000_000))
    events = received(connection, packet[:200], packet[200:])
    assert sum(sizes(events)) == LIMIT + 1  # enough for Hypercorn to refuse it


def test_the_limit_is_for_the_whole_message() -> None:
    connection = connected()
    events = received(connection, deflated(b"x" * 600, fin=False), frame(0, b"y" * 10))
    assert sum(sizes(events)) == 610 or isinstance(events[-1], CloseConnection)


def test_what_was_not_compressed_goes_through() -> None:
    assert sizes(received(connected(), frame(2, b"x" * 5000), frame(9, b"ping"))) == [5000]


def test_nonsense_is_a_fault_of_the_peer() -> None:
    (event,) = received(connected(), bytes([0xC2]) + frame(2, b"\xff" * 4)[1:])
    assert isinstance(event, CloseConnection)
    assert event.code == 1007
