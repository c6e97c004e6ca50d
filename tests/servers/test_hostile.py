"""`python -m wsnursery serve` and clients that no honest program is: the service goes on."""

import subprocess
import sys
import zlib
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers._clients import BINARY, CLOSE, TEXT, RawClient, frame, handshake
from tests.servers._harness import Running, wait_until
from tests.servers._rows import ROOT
from tests.servers._serving import Start

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"
MEGABYTE = 1_000_000


@pytest.mark.parametrize("worker", ["trio", "asyncio"])
@pytest.mark.parametrize("attack", [[], ["--random", "1000"]], ids=["packets", "random"])
def test_no_packet_ends_the_service(worker: str, attack: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "tools/hostile.py", *attack, "--", "-k", worker],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert " 0 deaths" in done.stdout


def test_one_failure_is_logged_and_the_others_go_on(start: Start) -> None:
    with start() as server, server.client() as honest:
        assert honest.open("/ours/echo?id=honest") == 101
        for _ in range(3):
            with server.client() as hostile:
                hostile.ask(
                    "/ours/echo", "Sec-WebSocket-Protocol: \N{LATIN SMALL LETTER E WITH ACUTE}"
                )
                hostile.read_all()
        honest.send("still here")
        assert texts(honest, 1) == [b"still here"]
        assert server.log.count("because serving it failed: UnicodeDecodeError") == 3
        assert server.log.count("Traceback") == 1


def test_data_in_the_packet_of_the_handshake_is_received(start: Start) -> None:
    with start() as server, server.client() as client:
        client.ask("/ours/echo?id=hasty", early=frame(TEXT, b"one") + frame(TEXT, b"two"))
        assert b" 101 " in client.read_to(b"\r\n\r\n")
        client.send("three")
        assert texts(client, 3) == [b"one", b"two", b"three"]


def test_a_close_in_the_packet_of_the_handshake_ends_it(start: Start) -> None:
    with start() as server:
        before = server.settled_stats()
        for number in range(20):
            with server.client() as client:
                early = frame(TEXT, b"one") + frame(CLOSE, b"\x03\xe8") + frame(TEXT, b"late")
                client.ask(f"/ours/echo?id={number}", early=early)
                client.read_all()
                server.wait_for(str(number), "ended")
        server.assert_nothing_left(before)


def texts(client: RawClient, count: int) -> list[bytes]:
    """The next messages, without the pings."""
    found: list[bytes] = []
    while len(found) < count:
        opcode, payload = client.read_message()
        if opcode == TEXT:
            found.append(payload)
    return found


def leave_hastily(server: Running, path: str, *, half: bool) -> RawClient:
    """A handshake and a frame in one packet, and the end behind it."""
    client = server.client()
    client.write(handshake(path) + frame(TEXT, b"early"))
    if half:
        client.half_close()
    else:
        client.socket.close()
    return client


@pytest.mark.parametrize("half", [False, True], ids=["close", "half-close"])
@pytest.mark.parametrize("path", ["/ours/echo", "/ours/idle", "/raw/echo"])
def test_a_frame_with_the_handshake_and_then_the_end_leave_nothing(
    start: Start, path: str, half: bool
) -> None:
    with start() as server, ExitStack() as stack:
        before = server.settled_stats()
        for number in range(40):
            stack.enter_context(leave_hastily(server, f"{path}?id={number}", half=half))
        server.assert_nothing_left(before)


@pytest.mark.parametrize("half", [False, True], ids=["close", "half-close"])
@pytest.mark.parametrize("path", ["/ours/idle", "/ours/never_reads"])
def test_the_end_behind_messages_that_are_not_read_is_noticed(
    start: Start, path: str, half: bool
) -> None:
    with start(hangup_timeout=0.5) as server, ExitStack() as stack:
        before = server.settled_stats()
        for number in range(10):
            client = stack.enter_context(server.client())
            assert client.open(f"{path}?id={number}") == 101
            # Hypercorn reads it in one piece, and not the end behind it.
            client.send(*["x"] * 2000)
            if half:
                client.half_close()
            else:
                client.socket.close()
        server.assert_nothing_left(before)
        for number in range(10):
            error = server.wait_for(str(number), "ended")["error"]
            assert error == "WebSocketDisconnected", server.records(str(number))


def test_a_handler_without_this_library_that_never_reads_is_cancelled(start: Start) -> None:
    with start(hangup_timeout=0.5) as server, server.client() as client:
        before = server.settled_stats()
        assert client.open("/raw/idle?id=raw") == 101
        server.wait_for("raw", "accepted")
        client.send(*["x"] * 2000)
        client.half_close()
        assert "Cancelled" in server.wait_for("raw", "ended")["error"]
        client.socket.close()
        server.assert_nothing_left(before)


def bomb(size: int) -> bytes:
    """A message of zeros, deflated."""
    compressor = zlib.compressobj(9, wbits=-15)
    data = compressor.compress(bytes(size)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    whole = frame(BINARY, data[:-4])
    return bytes([0xC2]) + whole[1:]


def resident(server: Running) -> float:
    """The memory of the process, in MB."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096 / MEGABYTE


def test_compression_is_off_unless_it_is_asked_for(start: Start) -> None:
    with start() as server, server.client() as client:
        assert client.open("/ours/echo?id=x", DEFLATE) == 101
        assert "sec-websocket-extensions" not in client.headers


def test_a_bomb_takes_no_memory(start: Start) -> None:
    with start(websocket_compression=True) as server, ExitStack() as stack:
        packet = bomb(100 * MEGABYTE)
        before = resident(server)
        for number in range(4):
            client = stack.enter_context(server.client())
            assert client.open(f"/ours/echo?id={number}", DEFLATE) == 101
            assert "permessage-deflate" in client.headers["sec-websocket-extensions"]
            client.write(packet)
            assert client.read_close()[0] == 1009
            # The handler is notified, although the client does not leave.
            server.wait_for(str(number), "ended")
        assert resident(server) - before < 40


def test_what_has_ended_goes_at_once_and_not_at_the_next_ping(start: Start) -> None:
    with start(websocket_ping_interval=60.0) as server, ExitStack() as stack:
        before = server.settled_stats()
        for number in range(10):
            client = stack.enter_context(server.client())
            assert client.open(f"/ours/echo?id={number}") == 101
            client.socket.close()
        server.assert_nothing_left(before, timeout=5)
        assert wait_until(lambda: server.answers, 5)
