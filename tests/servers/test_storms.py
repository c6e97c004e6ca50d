"""Thousands of clients that leave in every way, and thousands that never meant well.

`WSNURSERY_STORM=10000 pytest tests/servers/test_storms.py` is the long form. A failure names its
seed; `WSNURSERY_SEED` sets it.
"""

import os
import random
import re
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.servers._clients import BINARY, CLOSE, TEXT, RawClient, ServerGone, frame, handshake
from tests.servers._harness import SERVERS, Running, running

STORM = int(os.environ.get("WSNURSERY_STORM", "2000"))
SEED = int(os.environ.get("WSNURSERY_SEED", "0"))
AT_ONCE = 8

pytestmark = pytest.mark.timeout(max(120, STORM // 10))

PATIENT = ("echo", "push", "never_reads", "leave")
"""Handlers that wait for their client, in different ways."""

Script = Callable[[RawClient, random.Random], None]


# ------------------------------------------------------------------------------ ways to leave


def close_frame(client: RawClient, chance: random.Random) -> None:
    client.close(chance.choice([1000, 1001, 4001]), "bye")


def fin(client: RawClient, chance: random.Random) -> None:
    pass  # the caller closes the socket


def reset(client: RawClient, chance: random.Random) -> None:
    client.reset()


def half_close(client: RawClient, chance: random.Random) -> None:
    client.half_close()
    with suppress(ServerGone):
        client.read_close()


def garbage(client: RawClient, chance: random.Random) -> None:
    client.socket.sendall(chance.randbytes(chance.randrange(1, 100)))


def middle_of_a_frame(client: RawClient, chance: random.Random) -> None:
    whole = frame(TEXT, b"x" * 200)
    client.socket.sendall(whole[: chance.randrange(1, len(whole))])


def burst_and_reset(client: RawClient, chance: random.Random) -> None:
    client.send(*["message"] * chance.randrange(1, 60))
    client.reset()


def burst_and_close(client: RawClient, chance: random.Random) -> None:
    client.send(*["message"] * chance.randrange(1, 60))
    client.close(1000)


AFTER_ACCEPT = [
    *(close_frame, fin, reset, half_close, garbage),
    *(middle_of_a_frame, burst_and_reset, burst_and_close),
]


def leave_after_accept(server: Running, chance: random.Random) -> None:
    with server.client() as client:
        client.open(f"/ours/{chance.choice(PATIENT)}")
        with suppress(OSError):  # the handler may leave first
            chance.choice(AFTER_ACCEPT)(client, chance)


def leave_during_the_handshake(server: Running, chance: random.Random) -> None:
    request = handshake(f"/ours/{chance.choice(PATIENT)}")
    with server.client() as client:
        client.socket.sendall(request[: chance.randrange(1, len(request) + 1)])
        if chance.random() < 0.5:
            client.reset()


def send_before_the_answer(server: Running, chance: random.Random) -> None:
    """Hypercorn never notifies the handler of that end, so the handler has a timeout."""
    with server.client() as client:
        client.open("/ours/impatient_echo", early=frame(TEXT, b"early"))


WAYS = [leave_after_accept] * 8 + [leave_during_the_handshake, send_before_the_answer]


def one_disconnect(server: Running, number: int) -> None:
    chance = random.Random(f"{SEED} {number}")
    with suppress(ServerGone):
        chance.choice(WAYS)(server, chance)


# ------------------------------------------------------------------------- hostile connections


def hostile_handshake(chance: random.Random, path: str) -> bytes:
    """A handshake with headers that hurt, and sometimes with a few bytes changed."""
    headers = [
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99, ,;=",
        'Sec-WebSocket-Extensions: x; y=",;',
        "Sec-WebSocket-Protocol: chat, , \x7f",
        "Sec-WebSocket-Version: 12",
        "Sec-WebSocket-Key: x",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Origin: null",
        "Host: \xff",
        "X: " + "x" * chance.randrange(20_000),
        "\x00: y",
    ]
    request = bytearray(handshake(path))
    lines = "\r\n".join(chance.sample(headers, chance.randrange(3))).encode("latin-1")
    if lines:
        request[-2:] = lines + b"\r\n\r\n"
    if chance.random() < 0.3:
        start = request.index(b"Sec-")  # what precedes makes it a WebSocket
        for _ in range(chance.randrange(1, 4)):
            request[chance.randrange(start, len(request))] = chance.randrange(128)
    return bytes(request)


def hostile_frame(chance: random.Random) -> bytes:
    """A frame that breaks RFC 6455 in one way or another, or nearly does."""
    bits = chance.choice([0x80, 0x00, 0xC0, 0xF0])
    opcode = chance.choice([0, TEXT, BINARY, 3, CLOSE, 9, 10, 15])
    payload = chance.randbytes(chance.choice([0, 1, 2, 5, 125, 126, 300]))
    if opcode == CLOSE and chance.random() < 0.7:
        payload = struct.pack("!H", chance.choice([0, 999, 1000, 1005, 1006, 1015, 65535]))
    whole = bytearray(frame(TEXT, payload))
    whole[0] = bits | opcode
    if chance.random() < 0.2:
        whole[1] ^= 0x80  # not masked, though the mask is there
    if chance.random() < 0.1:
        whole[1:] = b"\xff" + struct.pack("!Q", 1 << chance.randrange(16, 64))
    return bytes(whole)


def one_attack(server: Running, number: int, kind: str = "ours") -> None:
    chance = random.Random(f"{SEED} {number}")
    request = hostile_handshake(chance, f"/{kind}/impatient_echo")
    frames = [hostile_frame(chance) for _ in range(chance.randrange(6))]
    early = chance.randrange(len(frames) + 1) if chance.random() < 0.3 else 0
    with server.client() as client, suppress(OSError):
        client.socket.sendall(request + b"".join(frames[:early]))
        client.socket.settimeout(0.05)  # many of them get no answer, ever
        client.socket.recv(65536)
        for attack in frames[early:]:
            client.socket.sendall(attack)
        if chance.random() < 0.5:
            client.reset()


# -------------------------------------------------------------------------------------- tests


def storm(server: Running, one: Callable[[Running, int], None]) -> None:
    """Run it for every number, some at a time."""

    def marked(number: int) -> None:
        try:
            one(server, number)
        except Exception as exc:
            exc.add_note(f"connection {number} of WSNURSERY_SEED={SEED}\n{server.log[-5000:]}")
            raise

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(marked, range(STORM)):
            pass


def tracebacks(server: Running) -> list[str]:
    return re.findall(r"^Traceback .*\n(?: .*\n)*(.*)", server.log, re.MULTILINE)


@pytest.fixture
def server() -> Iterator[Running]:
    """A server that must hold, after the test, no more than after a first connection."""
    with running(SERVERS["hypercorn-trio"]) as started:
        one_disconnect(started, 0)
        time.sleep(0.5)
        before = started.settled_stats()
        yield started
        started.assert_nothing_left(before)


# contract: L2, R7
def test_disconnects_leave_nothing(server: Running) -> None:
    storm(server, one_disconnect)
    assert tracebacks(server) == []


# contract: T1
def test_hostile_clients_end_nothing(server: Running) -> None:
    storm(server, one_attack)
    bug_of_wsproto = "ValueError: invalid literal for int() with base 10: "
    assert [line for line in tracebacks(server) if not line.startswith(bug_of_wsproto)] == []


def test_hostile_clients_end_a_bare_hypercorn_trio() -> None:
    """The same clients: it is gone after some dozens."""
    with running(SERVERS["hypercorn-trio"], expect_clean_stop=False) as server:
        with pytest.raises(ConnectionRefusedError):
            for number in range(STORM):
                one_attack(server, number, "raw")
        assert not server.answers
