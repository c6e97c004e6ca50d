"""The raw client: what it puts on the wire, and what it makes of the answers."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from wsnursery._doctor._client import CLOSE, TEXT, ProbeClient, frame

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


class Pair:
    """A client, and the server's end of its connection."""

    def __init__(self, **arguments: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = ProbeClient(listener.getsockname(), "/path?query", **arguments)
            self.server, _ = listener.accept()
        self.server.settimeout(5)

    def request(self) -> bytes:
        return self.server.recv(65536)


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    with closing(pair.client), pair.server:
        yield pair


def unmasked(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, size]) + payload
    if size < 65536:
        return bytes([0x80 | opcode, 126]) + struct.pack("!H", size) + payload
    return bytes([0x80 | opcode, 127]) + struct.pack("!Q", size) + payload


def close_frame(code: int) -> bytes:
    return unmasked(CLOSE, struct.pack("!H", code))


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (125, bytes([0x81, 0x80 | 125])),
        (126, bytes([0x81, 0x80 | 126, 0, 126])),
        (65536, bytes([0x81, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0])),
    ],
)
def test_frame(size: int, head: bytes) -> None:
    assert frame(TEXT, b"x" * size) == head + bytes(4) + b"x" * size


def test_handshake_with_an_early_frame() -> None:
    pair = Pair(early=b"early", receive_buffer=4096)
    with closing(pair.client), pair.server:
        request = pair.request()
        assert request.startswith(b"GET /path?query HTTP/1.1\r\nHost: 127.0.0.1:")
        assert request.endswith(b"\r\n\r\nearly")


def test_no_server_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    with pytest.raises(ConnectionRefusedError):
        ProbeClient(address, "/")


def test_close_frame_is_answered(pair: Pair) -> None:
    pair.request()
    pair.server.sendall(ACCEPTED + unmasked(TEXT, b"late") + close_frame(4001))
    pair.server.shutdown(socket.SHUT_WR)
    pair.client.close_frame()
    assert pair.request() == frame(CLOSE, struct.pack("!H", 4001) + b"bye")
    assert pair.request() == b""  # and it has closed the socket
    assert pair.client.outlook(0.1) == {"status": 101, "end": "close", "code": 4001}


def test_reset(pair: Pair) -> None:
    pair.request()
    pair.client.reset()
    with pytest.raises(ConnectionResetError):
        pair.request()
    assert pair.client.outlook(0.1) == {"status": None, "end": "left"}


def test_fin(pair: Pair) -> None:
    pair.request()
    pair.client.fin()
    assert pair.request() == b""
    assert pair.client.outlook(0.1)["end"] == "left"


def test_half_close_goes_on_reading(pair: Pair) -> None:
    pair.request()
    pair.client.half_close()
    assert pair.request() == b""
    pair.server.sendall(ACCEPTED + close_frame(1000))
    assert pair.client.outlook(1) == {"status": 101, "end": "close", "code": 1000}


@pytest.mark.parametrize("pause", [0.0, 0.001])
def test_send(pair: Pair, pause: float) -> None:
    pair.request()
    pair.client.send(3, pause)
    pair.client.fin()
    assert pair.server.makefile("rb").read() == b"".join(frame(TEXT, b"%d" % n) for n in range(3))


def test_flood_until_nothing_is_taken(pair: Pair) -> None:
    pair.request()
    sent = pair.client.flood(100_000_000)
    assert 0 < sent < 100_000_000


def test_flood_up_to_a_limit(pair: Pair) -> None:
    assert 30_000 <= pair.client.flood(30_000) < 100_000


def test_read_counts_whole_messages(pair: Pair) -> None:
    messages = [b"x" * 300, b"y" * 70_000, b"z" * 300, b"x" * 299 + b"y"]
    pair.server.sendall(ACCEPTED + b"".join(unmasked(2, message) for message in messages))
    assert pair.client.read(4, 300) == 2


def test_read_does_not_count_pings(pair: Pair) -> None:
    pair.server.sendall(ACCEPTED + unmasked(9, b"") + unmasked(2, b"x"))
    assert pair.client.read(1, 1) == 1


def test_read_ends_with_the_connection(pair: Pair) -> None:
    pair.server.sendall(ACCEPTED + unmasked(2, b"x"))
    pair.server.shutdown(socket.SHUT_WR)
    assert pair.client.read(2, 1) == 1


def test_answer(pair: Pair) -> None:
    pair.request()
    pair.server.sendall(ACCEPTED + close_frame(4002))
    answering = threading.Thread(target=pair.client.answer)
    answering.start()
    assert pair.request() == frame(CLOSE, struct.pack("!H", 4002))
    pair.server.sendall(b"more")
    pair.server.close()
    answering.join()
    assert pair.client.outlook(0.1) == {"status": 101, "end": "close", "code": 4002}


def test_nothing_to_answer(pair: Pair) -> None:
    pair.server.sendall(ACCEPTED)
    pair.server.shutdown(socket.SHUT_WR)
    pair.client.answer()
    assert pair.client.outlook(0.1) == {"status": 101, "end": "FIN"}


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (ACCEPTED + unmasked(CLOSE, b""), {"status": 101, "end": "close", "code": None}),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", {"status": 403, "end": "FIN"}),
        (b"", {"status": None, "end": "FIN"}),
    ],
)
def test_outlook(pair: Pair, answer: bytes, seen: dict[str, Any]) -> None:
    pair.server.sendall(answer)
    pair.server.shutdown(socket.SHUT_WR)
    assert pair.client.outlook(1) == seen


def test_outlook_on_what_stays_open(pair: Pair) -> None:
    pair.server.sendall(ACCEPTED)
    assert pair.client.outlook(0.05) == {"status": 101, "end": "open"}


def test_outlook_on_an_endless_stream(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.server.sendall(ACCEPTED + unmasked(TEXT, b"x") * 100)
    clock = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    assert pair.client.outlook(10) == {"status": 101, "end": "open"}


def test_outlook_on_a_reset(pair: Pair) -> None:
    pair.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair.server.close()
    assert pair.client.outlook(1) == {"status": None, "end": "RST"}
