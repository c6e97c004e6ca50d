"""WebSockets over HTTP/2 (RFC 8441) on Hypercorn: the ends that HTTP/1.1 does not have.

Between them and the handler is the same code of Hypercorn as for HTTP/1.1, so a few tests will do.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.servers._clients import LEAVING, TEXT
from tests.servers._harness import Running
from tests.servers._http2 import Http2Client

ENDS: dict[str, Callable[[Any], None]] = {
    **LEAVING,
    "RST_STREAM": Http2Client.reset_stream,
    "END_STREAM": Http2Client.end_stream,
    "GOAWAY": Http2Client.go_away,
}

# Hypercorn hands the end of a request's body to a WebSocket, which has no use for it.
IGNORED = pytest.mark.xfail(
    reason="Hypercorn ignores END_STREAM without a close frame (protocol/h2.py: EndBody)",
    raises=AssertionError,
    strict=True,
)


@pytest.fixture(params=[pytest.param(end, marks=[IGNORED] * (end == "END_STREAM")) for end in ENDS])
def end(request: pytest.FixtureRequest) -> Callable[[Any], None]:
    """A way for the client to go."""
    return ENDS[request.param]


@pytest.fixture
def server(shared_server: Running) -> Running:
    """A running server. It keeps an HTTP/2 connection for 5 s after its last stream."""
    return shared_server


@pytest.fixture
def client(server: Running) -> Iterator[Http2Client]:
    """A client that is not connected to a handler yet."""
    with Http2Client(server.port) as client:
        yield client


# contract: R6, L2
def test_reader(server: Running, client: Http2Client, end: Callable[[Any], None]) -> None:
    connection = server.new_id()
    assert client.open(f"/ours/echo?id={connection}") == 200
    client.send("one")
    assert client.read_message() == (TEXT, b"one")
    end(client)
    ended = server.wait_for(connection, "ended", 1)
    assert ended["error"] is None
    assert server.wait_for(connection, "read")["code"] == 1006


# contract: D2, D4, L2
def test_handler_that_does_not_read(
    server: Running, client: Http2Client, end: Callable[[Any], None]
) -> None:
    connection = server.new_id()
    assert client.open(f"/ours/push?id={connection}") == 200
    server.wait_for(connection, "accepted")
    end(client)
    ended = server.wait_for(connection, "ended", 1)
    assert (ended["error"], ended["code"]) == ("WebSocketDisconnected", 1006)
    cleaned = server.records(connection, "cleaned")
    assert sorted(record["child"] for record in cleaned) == [0, 1]


# contract: C1, C2
def test_own_close(server: Running, client: Http2Client) -> None:
    connection = server.new_id()
    assert client.open(f"/ours/close_with?id={connection}&code=4002") == 200
    assert [client.read_message()[1] for _ in range(50)] == [b"%d" % n for n in range(50)]
    assert client.read_close() == (4002, "enough")
    client.close(4002)
    assert server.wait_for(connection, "ended")["error"] is None


# contract: C6
def test_reject(server: Running, client: Http2Client) -> None:
    connection = server.new_id()
    assert client.open(f"/ours/reject?id={connection}") == 429
    assert client.headers["retry-after"] == "7"
