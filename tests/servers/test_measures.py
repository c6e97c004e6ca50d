"""What one client can do to a server through a bare application, and cannot through ours.

Every test shows both. When a new version of a server fixes one of these, the bare half fails:
then the measure, and the test, may go.
"""

import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.servers._clients import TEXT, RawClient, ServerGone, frame
from tests.servers._harness import SERVERS, Running, Server, running, wait_until
from tests.servers._http2 import Http2Client

HYPERCORN_TRIO = SERVERS["hypercorn-trio"]
HYPERCORN_ASYNCIO = SERVERS["hypercorn-asyncio"]
ANYCORN_TRIO = SERVERS["anycorn-trio"]


def early_frame(client: RawClient, kind: str, connection: str) -> None:
    """A first message in the packet of the handshake: the server answers 400, then must accept.

    It never notifies the application of the end, so only a time limit ends a handler.
    """
    client.open(f"/{kind}/impatient_echo?id={connection}", early=frame(TEXT, b"early"))


def early_body(client: RawClient, kind: str, connection: str) -> None:
    """The same with bytes that are announced as a body."""
    client.open(f"/{kind}/impatient_echo?id={connection}", "Content-Length: 5", early=b"hello")


def bad_extension(client: RawClient, kind: str, connection: str) -> None:
    """An offer that makes wsproto raise out of the server's accept."""
    offer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=x"
    client.open(f"/{kind}/impatient_echo?id={connection}", offer)


def unoffered_subprotocol(client: RawClient, kind: str, connection: str) -> None:
    """An application that picks a subprotocol which the client did not offer."""
    client.open(f"/{kind}/bad_subprotocol?id={connection}")


def text_headers(client: RawClient, kind: str, connection: str) -> None:
    """An application that gives headers as text, where ASGI wants bytes."""
    client.open(f"/{kind}/text_headers?id={connection}")


PACKETS = [early_frame, early_body, bad_extension, unoffered_subprotocol, text_headers]
Attack = Callable[[RawClient, str, str], None]


def send_packet(server: Running, attack: Attack, kind: str) -> str:
    connection = server.new_id()
    with server.client() as client, suppress(ServerGone):
        attack(client, kind, connection)
    return connection


ALSO_ON_ANYCORN = [bad_extension, unoffered_subprotocol, text_headers]


@pytest.mark.parametrize(
    ("row", "attack"),
    [
        *((HYPERCORN_TRIO, attack) for attack in PACKETS),
        *((ANYCORN_TRIO, attack) for attack in ALSO_ON_ANYCORN),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_one_packet_ends_a_bare_server(row: Server, attack: Attack) -> None:
    with running(row, expect_clean_stop=False) as server:
        send_packet(server, attack, "raw")
        assert wait_until(lambda: not server.answers, 5)


# contract: T1
def test_one_packet_does_not_end_ours_on_anycorn() -> None:
    with running(ANYCORN_TRIO) as server:
        before = server.settled_stats()
        for attack in ALSO_ON_ANYCORN:
            for _ in range(5):
                server.wait_for(send_packet(server, attack, "ours"), "ended")
        server.assert_nothing_left(before)


# contract: T1
@pytest.mark.parametrize("attack", PACKETS)
def test_one_packet_does_not_end_ours(server: Running, attack: Attack) -> None:
    for _ in range(10):
        connection = send_packet(server, attack, "ours")
        server.wait_for(connection, "ended")
    assert server.answers
    with server.client() as client:
        connection = server.new_id()
        assert client.open(f"/ours/echo?id={connection}") == 101
        client.send("still here")
        assert client.read() == (TEXT, b"still here")
        client.close(1000)
        server.wait_for(connection, "ended")


# contract: C6
def test_a_first_frame_before_a_denial_does_not_end_ours(server: Running) -> None:
    """As before an accept: the server must have read it when the answer comes."""
    for _ in range(10):
        connection = server.new_id()
        with server.client() as client, suppress(ServerGone):
            client.open(f"/ours/reject?id={connection}", early=frame(TEXT, b"early"))
        server.wait_for(connection, "ended")
    assert server.answers


def test_one_packet_ends_hypercorn_trio_before_any_application_is_called() -> None:
    """wsproto reads the header as ASCII in the server's reader, out of the application's reach."""
    with running(HYPERCORN_TRIO, expect_clean_stop=False) as server:
        with server.client() as client, suppress(ServerGone):
            client.open("/ours/echo", "Sec-WebSocket-Extensions: \xe9")
        assert wait_until(lambda: not server.answers, 5)


def burst_and_reset(client: RawClient) -> None:
    client.send(*["message"] * 50)
    client.reset()


def test_bursts_leave_tasks_and_descriptors_behind_a_bare_application() -> None:
    with running(HYPERCORN_TRIO, expect_clean_stop=False) as server:
        before = server.settled_stats()
        for _ in range(20):
            connection = server.new_id()
            with server.client() as client:
                client.open(f"/raw/idle?seconds=0.1&id={connection}")
                burst_and_reset(client)
            server.wait_for(connection, "ended")
        after = server.settled_stats()
    assert after["tasks"] >= before["tasks"] + 10
    assert after["fds"] >= before["fds"] + 10


def test_leaving_early_leaves_tasks_behind_a_bare_application() -> None:
    with running(HYPERCORN_TRIO, expect_clean_stop=False) as server:
        before = server.settled_stats()
        for _ in range(10):
            connection = server.new_id()
            with server.client() as client:
                client.open(f"/raw/leave?id={connection}")
                client.send(*["message"] * 50)
                server.settled_stats()  # it has read as much as it keeps
                server.get(f"/release?id={connection}")
            server.wait_for(connection, "ended")
        after = server.settled_stats()
    assert after["tasks"] >= before["tasks"] + 10


# contract: R7 (the fixture `server` looks for what is left)
@pytest.mark.parametrize("handler", ["echo", "never_reads", "push", "leave"])
def test_bursts_leave_nothing_behind_ours(server: Running, handler: str) -> None:
    for _ in range(20):
        connection = server.new_id()
        with server.client() as client:
            assert client.open(f"/ours/{handler}?id={connection}") == 101
            with suppress(OSError):
                burst_and_reset(client)
        server.wait_for(connection, "ended", timeout=10)


# contract: R7
def test_all_that_can_be_read_at_once_leaves_nothing_behind_ours(server: Running) -> None:
    for _ in range(3):
        connection = server.new_id()
        with server.client() as client:
            assert client.open(f"/ours/echo?id={connection}") == 101
            client.write(frame(TEXT, b"") * 10_000)
            client.reset()
        server.wait_for(connection, "ended", timeout=20)


def test_bare_echo_hangs_in_send() -> None:
    """One task that receives and sends waits in `send` for the queue that it should empty."""

    def some_hang(server: Running) -> bool:
        """Whether one of 20 does. It depends on how much is read before the reset is noticed."""
        connections = [server.new_id() for _ in range(20)]
        for connection in connections:
            with server.client() as client:
                client.open(f"/raw/echo?id={connection}")
                burst_and_reset(client)
        time.sleep(1)
        return not all(server.records(connection, "ended") for connection in connections)

    with running(HYPERCORN_ASYNCIO, expect_clean_stop=False) as server:
        assert any(some_hang(server) for _ in range(10))


# contract: S9
def test_our_echo_does_not_hang(server: Running) -> None:
    connections = []
    for _ in range(50):
        connections.append(server.new_id())
        with server.client() as client:
            client.open(f"/ours/echo?id={connections[-1]}")
            burst_and_reset(client)
    for connection in connections:
        server.wait_for(connection, "ended")


def close_code_at_sigterm(row: Server, kind: str) -> int | None:
    """The code of the close frame that an idle client gets when the server stops."""
    with (
        running(row, arguments=["--graceful-timeout", "1"]) as server,
        server.client() as client,
    ):
        client.open(f"/{kind}/idle?id={server.new_id()}")
        server.terminate()
        try:
            code, _ = client.read_close()
        except ServerGone:
            return None
        client.close(code)
        return code


def test_sigterm_cuts_the_line_of_a_bare_application() -> None:
    assert close_code_at_sigterm(HYPERCORN_TRIO, "raw") is None
    assert close_code_at_sigterm(HYPERCORN_ASYNCIO, "raw") == 1011


# contract: X5
def test_sigterm_is_reported_on_wsnursery(row: Server) -> None:
    assert close_code_at_sigterm(row, "ours") == 1001


def test_a_loop_of_sends_to_a_client_that_is_gone_freezes_a_bare_server() -> None:
    with running(HYPERCORN_TRIO, expect_clean_stop=False) as server:
        with server.client() as client:
            client.open(f"/raw/send_loop?id={server.new_id()}")
        assert wait_until(lambda: not server.answers, 10)


# contract: S8
def test_a_loop_of_sends_to_a_client_that_is_gone_ends_ours(server: Running) -> None:
    connection = server.new_id()
    with server.client() as client:
        client.open(f"/ours/send_loop?id={connection}")
        client.read()
    ended = server.wait_for(connection, "ended")
    assert ended["error"] == "WebSocketDisconnected"
    assert server.answers


def leave_while_it_sends(server: Running, handler: str) -> None:
    """A connection ends while Hypercorn sends by itself: here the frames of HTTP/2."""
    for _ in range(20):
        with suppress(OSError, ServerGone), Http2Client(server.port) as client:
            client.open(handler)
            client.read()
            client.go_away()
            while client.socket.recv(65536):
                pass


def test_leaving_while_it_sends_ends_a_bare_server() -> None:
    with running(HYPERCORN_TRIO, expect_clean_stop=False) as server:
        leave_while_it_sends(server, "/raw/flood?size=1")
        assert wait_until(lambda: not server.answers, 10)


# contract: L2
def test_leaving_while_it_sends_does_not_end_ours(server: Running) -> None:
    leave_while_it_sends(server, "/ours/send_loop")
    assert server.answers
