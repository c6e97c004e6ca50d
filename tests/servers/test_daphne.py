"""What is special about daphne: it refuses the close codes of the standard.

Its autobahn takes 1000 and 3000 to 4999 only, and after a refusal the connection would stay open.
"""

import pytest

from tests.servers._clients import RawClient
from tests.servers._harness import SERVERS, Running, Server


@pytest.fixture(scope="module")
def row() -> Server:
    """The row of daphne."""
    return SERVERS["daphne"]


def closed_with(client: RawClient) -> tuple[int, str]:
    code, reason = client.read_close()
    client.close(code)
    client.socket.close()
    return code, reason


def without_name(message: str) -> str:
    """A line of the log without the connection that it is about."""
    what, _, connection = message.partition(" (WebSocket /ours/")
    assert connection, message
    return what


# contract: C1, C2
@pytest.mark.parametrize(("code", "sent"), [(1000, 1000), (1001, 4901), (1012, 4912), (3000, 3000)])
def test_own_close(server: Running, code: int, sent: int) -> None:
    connection = server.new_id()
    with server.client() as client:
        assert client.open(f"/ours/close_with?id={connection}&code={code}") == 101
        assert closed_with(client) == (sent, "")
    ended = server.wait_for(connection, "ended")
    assert (ended["error"], ended["close_code"]) == (None, code)
    logged = [without_name(record["message"]) for record in server.records(connection, "logged")]
    refused = [f"the server refuses close code {code}: sent {sent}"]
    assert logged == (refused if sent != code else [])


# contract: X1
def test_handler_that_fails(server: Running) -> None:
    connection = server.new_id()
    with server.client() as client:
        assert client.open(f"/ours/fail?id={connection}") == 101
        assert closed_with(client) == (4911, "")
    assert server.wait_for(connection, "ended")["error"] == "LookupError"


# contract: D9
def test_strict_mode_warns(server: Running) -> None:
    connection = server.new_id()
    with server.client() as client:
        assert client.open(f"/ours/strict_closer?id={connection}") == 101
        assert closed_with(client) == (4901, "")
    logged = server.wait_for(connection, "logged")
    assert (logged["level"], without_name(logged["message"])) == (
        "WARNING",
        "the server refuses close code 1001: sent 4901",
    )
