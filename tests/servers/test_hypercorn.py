"""A connection's end under a real Hypercorn: the handler, its children and their clean-up.

Hypercorn gives 1006 for every way in which a client leaves, and never a reason; its sends to a
client that is gone succeed. So the disconnect event is the only sign, and 1006 means "unknown".
"""

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from websockets.sync.client import connect

from tests.servers import _clients
from tests.servers._clients import RawClient, ServerGone
from tests.servers._harness import Running, Server, running
from tests.servers._reports import Record

NOTICE_TO_END = 0.1
"""Seconds from the server's disconnect event to the end of the block (the clean-ups take 0.01)."""


def assert_ended_together(server: Running, connection: str) -> Record:
    """The block was left once, with its children's clean-up behind it; give how."""
    ended = server.wait_for(connection, "ended")
    cleaned = server.records(connection, "cleaned")
    assert sorted(record["child"] for record in cleaned) == [0, 1]
    assert all(record.time <= ended.time for record in cleaned)
    assert len(server.records(connection, "ended")) == 1
    assert not ended["group"]
    return ended


def assert_ended_promptly(server: Running, connection: str) -> Record:
    ended = assert_ended_together(server, connection)
    noticed = server.wait_for(connection, "noticed")
    assert ended.time - noticed.time < NOTICE_TO_END
    return ended


def close_frame(client: RawClient) -> None:
    client.close(4001, "bye")


LEAVING: dict[str, Callable[[RawClient], None]] = {
    "close frame": close_frame,
    "half-close": RawClient.half_close,
    "FIN": lambda client: client.socket.close(),
    "RST": RawClient.reset,
}


@pytest.fixture(params=LEAVING.values(), ids=list(LEAVING))
def leave(request: pytest.FixtureRequest) -> Callable[[RawClient], None]:
    """A way for the client to go."""
    way: Callable[[RawClient], None] = request.param
    return way


# contract: R6, D6, X3
def test_reader_ends_silently(server: Running, leave: Callable[[RawClient], None]) -> None:
    connection = server.new_id()
    with server.client() as client:
        assert client.open(f"/ours/echo?id={connection}") == 101
        client.send("one", "two")
        assert [client.read(), client.read()] == [(1, b"one"), (1, b"two")]
        leave(client)
        ended = assert_ended_promptly(server, connection)
    assert ended["error"] is None
    read = server.wait_for(connection, "read")
    assert (read["count"], read["code"], read["reason"]) == (2, 1006, "")


# contract: D2, L2
@pytest.mark.parametrize("handler", ["idle", "push"])
def test_busy_handler_is_cancelled(
    server: Running, handler: str, leave: Callable[[RawClient], None]
) -> None:
    connection = server.new_id()
    with server.client() as client:
        assert client.open(f"/ours/{handler}?id={connection}") == 101
        server.wait_for(connection, "accepted")
        leave(client)
        ended = assert_ended_promptly(server, connection)
    assert (ended["error"], ended["code"], ended["reason"]) == ("WebSocketDisconnected", 1006, "")


def test_killed_client_process(server: Running) -> None:
    connection = server.new_id()
    with _clients.client_process(server.url("/ours/idle", connection)) as process:
        server.wait_for(connection, "accepted")
        _clients.kill(process)
        ended = assert_ended_promptly(server, connection)
    assert ended["error"] == "WebSocketDisconnected"


def test_clean_close_of_a_client_library(server: Running) -> None:
    connection = server.new_id()
    with connect(server.url("/ours/echo", connection)) as client:
        client.send("text")
        client.send(b"bytes")
        assert [client.recv(timeout=5), client.recv(timeout=5)] == ["text", b"bytes"]
        client.close(4001, "bye")
        assert client.close_code == 4001
    ended = assert_ended_promptly(server, connection)
    assert ended["error"] is None


# contract: D3, R5
def test_unread_messages_in_front_of_the_disconnect(server: Running) -> None:
    connection = server.new_id()
    sent = [f"message {number}" for number in range(20)]
    with server.client() as client:
        assert client.open(f"/ours/late_reader?id={connection}") == 101
        client.send(*sent)
        client.close(4001)
        ended = assert_ended_together(server, connection)
    assert ended["error"] is None
    assert server.wait_for(connection, "read")["messages"] == sent


@pytest.mark.parametrize("handler", ["echo", "never_reads", "push"])
def test_burst_and_reset(server: Running, handler: str) -> None:
    for _ in range(20):
        connection = server.new_id()
        with server.client() as client:
            assert client.open(f"/ours/{handler}?id={connection}") == 101
            server.wait_for(connection, "accepted")
            client.send(*["message"] * 50)
            client.reset()
        ended = server.wait_for(connection, "ended")
        assert ended["error"] in {None, "WebSocketDisconnected"}
        assert_ended_together(server, connection)


# contract: C1, C4
@pytest.mark.parametrize(
    ("handler", "expected"),
    [("leave", (1000, "")), ("close", (4002, "enough")), ("fail", (1011, ""))],
)
def test_close_frame_of_a_handler_that_ends(
    server: Running, handler: str, expected: tuple[int, str]
) -> None:
    connection = server.new_id()
    with server.client() as client:
        assert client.open(f"/ours/{handler}?id={connection}") == 101
        code, reason = client.read_close()
        assert code == expected[0]
        if handler != "fail":
            assert reason == expected[1]
        client.close(code)
        with pytest.raises(ServerGone):
            client.read()
    assert server.wait_for(connection, "ended")["error"] == (
        "LookupError" if handler == "fail" else None
    )


# contract: S10, C5
def test_reader_that_has_stopped(server: Running, row: Server) -> None:
    connection = server.new_id()
    with server.client(receive_buffer=4096) as client:
        assert client.open(f"/ours/flood?id={connection}") == 101
        accepted = server.wait_for(connection, "accepted")
        cleaned = server.wait_for(connection, "cleaned")
        assert 0.9 < cleaned.time - accepted.time < 3
        if row.backend == "asyncio":  # on trio Hypercorn shields its write until the peer is gone
            server.wait_for(connection, "ended", timeout=3)
        client.reset()
        ended = assert_ended_together(server, connection)
    assert (ended["error"], ended["cause"]) == ("WebSocketDisconnected", "TimeoutError")


# contract: X5
def test_sigterm(row: Server) -> None:
    with running(row, arguments=["--graceful-timeout", "1"]) as server, ExitStack() as stack:
        clients: dict[str, RawClient] = {}
        for handler in ("echo", "idle", "push"):
            connection = server.new_id()
            client = clients[connection] = stack.enter_context(server.client())
            assert client.open(f"/ours/{handler}?id={connection}") == 101
            server.wait_for(connection, "accepted")
        server.terminate()
        for connection, client in clients.items():
            assert client.read_close()[0] == 1001
            client.close(1001)
            ended = assert_ended_together(server, connection)
            assert ended["error"] in {"Cancelled", "CancelledError"}


# contract: D3
def test_handler_that_never_reads_what_is_unread(server: Running) -> None:
    connection = server.new_id()
    with server.client() as client:
        assert client.open(f"/ours/never_reads?id={connection}") == 101
        server.wait_for(connection, "accepted")
        client.send(*["message"] * 20)
        client.close(1000)
        ended = assert_ended_together(server, connection)
    noticed = server.wait_for(connection, "noticed")
    assert ended["error"] == "WebSocketDisconnected"
    assert 0.25 < ended.time - noticed.time < 0.3 + NOTICE_TO_END  # its grace period is 0.3
