"""How fast a handler and its children end under a real Hypercorn; what ends is for all servers.

Hypercorn gives 1006 for every way in which a client leaves, and never a reason; its sends to a
client that is gone succeed. So the disconnect event is the only sign, and 1006 means "unknown".
"""

from collections.abc import Callable

import pytest
from websockets.sync.client import connect

from tests.servers import _clients
from tests.servers._clients import LEAVING, RawClient
from tests.servers._harness import Running
from tests.servers._reports import Record

NOTICE_TO_END = 0.1
"""Seconds from the server's disconnect event to the end of the block (the clean-ups take 0.01)."""

TRIES = 3
"""How often it may take longer: what waits for a timer always does, a busy machine now and then."""


def assert_ended_together(server: Running, connection: str) -> Record:
    """The block was left once, with its children's clean-up behind it; give how."""
    ended = server.wait_for(connection, "ended")
    cleaned = server.records(connection, "cleaned")
    assert sorted(record["child"] for record in cleaned) == [0, 1]
    assert all(record.time <= ended.time for record in cleaned)
    assert len(server.records(connection, "ended")) == 1
    assert not ended["group"]
    return ended


def assert_ends_promptly(server: Running, play: Callable[[str], Record]) -> None:
    """Play it with a new connection, and again if that took too long."""

    def seconds() -> float:
        connection = server.new_id()
        ended = play(connection)
        return ended.time - server.wait_for(connection, "noticed").time

    assert any(seconds() < NOTICE_TO_END for _ in range(TRIES))


@pytest.fixture(params=LEAVING.values(), ids=list(LEAVING))
def leave(request: pytest.FixtureRequest) -> Callable[[RawClient], None]:
    """A way for the client to go."""
    way: Callable[[RawClient], None] = request.param
    return way


# contract: D2, L2
@pytest.mark.parametrize("handler", ["idle", "push"])
def test_busy_handler_is_cancelled(
    server: Running, handler: str, leave: Callable[[RawClient], None]
) -> None:
    def play(connection: str) -> Record:
        with server.client() as client:
            assert client.open(f"/ours/{handler}?id={connection}") == 101
            server.wait_for(connection, "accepted")
            leave(client)
            ended = assert_ended_together(server, connection)
        seen = (ended["error"], ended["code"], ended["reason"])
        assert seen == ("WebSocketDisconnected", 1006, "")
        return ended

    assert_ends_promptly(server, play)


def test_killed_client_process(server: Running) -> None:
    def play(connection: str) -> Record:
        with _clients.client_process(server.url("/ours/idle", connection)) as process:
            server.wait_for(connection, "accepted")
            _clients.kill(process)
            ended = assert_ended_together(server, connection)
        assert ended["error"] == "WebSocketDisconnected"
        return ended

    assert_ends_promptly(server, play)


def test_clean_close_of_a_client_library(server: Running) -> None:
    def play(connection: str) -> Record:
        with connect(server.url("/ours/echo", connection)) as client:
            client.send("text")
            client.send(b"bytes")
            assert [client.recv(timeout=5), client.recv(timeout=5)] == ["text", b"bytes"]
            client.close(4001, "bye")
            assert client.close_code == 4001
        ended = assert_ended_together(server, connection)
        assert ended["error"] is None
        return ended

    assert_ends_promptly(server, play)


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
