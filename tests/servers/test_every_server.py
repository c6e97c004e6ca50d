"""The contract on every server: real processes, real sockets, one suite.

What a server makes impossible is in `_limits`, with the reason and the cause upstream. It is a
strict expectation: when an upgrade fixes it, the test here fails, and the row is removed.
"""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from websockets.sync.client import connect

from tests._nightly import NIGHTLY
from tests.servers._clients import BINARY, LEAVING, TEXT, RawClient, ServerGone, frame
from tests.servers._harness import SERVERS, Running, Server, running, wait_until
from tests.servers._reports import Record
from tests.servers.contract_apps import CHUNK

PROMPTLY = 1.0
"""Seconds. What is prompt takes milliseconds; the machine may be busy."""

DISCONNECTED = "WebSocketDisconnected"


ROWS = [row for row in SERVERS.values() if row.older is None or NIGHTLY]


@pytest.fixture(scope="module", params=ROWS, ids=[row.name for row in ROWS])
def row(request: pytest.FixtureRequest) -> Server:
    """A row of the table of servers."""
    server: Server = request.param
    return server


@pytest.fixture(scope="module")
def running_server(row: Server) -> Iterator[Callable[[], Running]]:
    """Gives the running server, a new one if a test has stopped or frozen the last."""
    with ExitStack() as stack:
        started: list[Running] = []

        def get() -> Running:
            if not started or not started[-1].answers:
                for frozen in started[-1:]:
                    frozen.kill()
                started.append(stack.enter_context(running(row, arguments=row.grace)))
            return started[-1]

        yield get


@pytest.fixture
def server(running_server: Callable[[], Running]) -> Running:
    """A running server. What it holds is compared once, by a test of its own: that takes time."""
    return running_server()


@pytest.fixture
def connection(server: Running) -> str:
    """A name for the connection of this test."""
    return server.new_id()


@pytest.fixture
def client(server: Running) -> Iterator[RawClient]:
    """A client that is not connected to a handler yet."""
    with server.client() as client:
        yield client


def open_(client: RawClient, handler: str, connection: str, **query: object) -> None:
    """Connect the client to a handler."""
    path = f"/ours/{handler}?id={connection}"
    assert client.open(path + "".join(f"&{key}={query[key]}" for key in query)) == 101


def ended_promptly(server: Running, connection: str) -> Record:
    """How the block was left, soon after the disconnect event, with nothing after it."""
    ended = server.wait_for(connection, "ended", PROMPTLY)
    noticed = server.records(connection, "noticed")
    assert noticed
    assert ended.time - noticed[0].time < PROMPTLY
    assert len(server.records(connection, "ended")) == 1
    assert not ended["group"]
    return ended


def answer_close(client: RawClient) -> tuple[int, str]:
    """Read up to the server's close frame, reply to it and hang up: what the frame said."""
    code, reason = client.read_close()
    client.close(code)
    client.socket.close()
    return code, reason


def log_failure(server: Running) -> None:
    """Let a handler fail and wait until the server has logged it, and with it all before it.

    daphne looks once a second for handlers that have failed.
    """
    connection = server.new_id()
    with server.client() as client:
        assert client.open(f"/app/fail?id={connection}") == 101
        answer_close(client)
    assert server.wait_for(connection, "ended")["error"] == "LookupError"
    last = f"LookupError: a bug of the handler of {connection}."
    assert wait_until(lambda: last in server.log, 5), server.log


def standard(code: int) -> int:
    """The code that was meant: in place of 1000 to 1099, daphne sends 4900 to 4999."""
    return code - 3900 if 4900 <= code <= 4999 else code


def children_cleaned(server: Running, connection: str) -> bool:
    """Whether both children, which await in their clean-up, had ended when the block was left."""
    ended = server.wait_for(connection, "ended")
    cleaned = server.records(connection, "cleaned")
    children = sorted(record["child"] for record in cleaned)
    return children == [0, 1] and all(record.time <= ended.time for record in cleaned)


# ------------------------------------------------------------------------------------- handshake


# contract: B2
def test_backend(server: Running, row: Server, client: RawClient, connection: str) -> None:
    """The handler runs on the server's own event loop."""
    open_(client, "where", connection)
    loop = "uvloop" if "uvloop" in row.name else row.backend
    assert server.wait_for(connection, "runs")["on"] == loop


# contract: S6, R1
@pytest.mark.parametrize(
    "message",
    ["text", "žluť ☃ 𝄞", b"\x00\xff", "", b""],
    ids=["text", "unicode", "bytes", '""', 'b""'],
)
def test_message(client: RawClient, connection: str, message: str | bytes) -> None:
    """A message goes through unchanged in both directions, an empty one too."""
    open_(client, "echo", connection)
    client.send(message, "end")
    expected = (BINARY, message) if isinstance(message, bytes) else (TEXT, message.encode())
    assert client.read_message() == expected
    assert client.read_message() == (TEXT, b"end")


# contract: T1
def test_subprotocol(server: Running, client: RawClient, connection: str) -> None:
    """What `accept` chooses is what the client gets."""
    offer = "Sec-WebSocket-Protocol: first, second"
    assert client.open(f"/ours/chooses?id={connection}", offer) == 101
    assert client.headers["sec-websocket-protocol"] == "second"
    assert server.wait_for(connection, "chosen")["subprotocol"] == "second"


# contract: T1
def test_headers(client: RawClient, connection: str) -> None:
    """The headers that `accept` is given reach the client."""
    assert client.open(f"/ours/chooses?id={connection}", "Sec-WebSocket-Protocol: second") == 101
    assert client.headers["x-test"] == "1"


# contract: T1
def test_subprotocol_that_was_not_offered(
    server: Running, client: RawClient, connection: str
) -> None:
    """It is refused as the handler's bug, and the server lives."""
    assert client.open(f"/ours/bad_subprotocol?id={connection}") == 403
    assert server.wait_for(connection, "ended")["error"] == "ValueError"


# contract: T2
@pytest.mark.parametrize(
    ("origin", "status"), [("https://good.example", 101), ("https://evil.example", 403)]
)
def test_origin(
    server: Running, client: RawClient, connection: str, origin: str, status: int
) -> None:
    """A page of another origin is denied before the handler runs."""
    assert client.open(f"/ours/same_origin?id={connection}", f"Origin: {origin}") == status
    client.reset()
    server.wait_for(connection, "ended")
    assert bool(server.records(connection, "entered")) == (status == 101)


# contract: L4
def test_leaving_without_accept(server: Running, client: RawClient, connection: str) -> None:
    """It denies the handshake."""
    assert client.open(f"/ours/deny?id={connection}") == 403
    assert server.wait_for(connection, "ended")["error"] is None


# contract: X1, L4
def test_failing_before_accept(server: Running, client: RawClient, connection: str) -> None:
    """It denies the handshake, and the error is the server's to log."""
    assert client.open(f"/ours/fail_early?id={connection}") == 403
    assert server.wait_for(connection, "ended")["error"] == "LookupError"


# contract: C6
def test_reject(server: Running, client: RawClient, connection: str) -> None:
    """A denial response where the server announces it, else plain 403 and a line in the log."""
    status = client.open(f"/ours/reject?id={connection}")
    announced = server.wait_for(connection, "extensions")["names"]
    if "websocket.http.response" in announced:
        assert (status, client.headers["retry-after"]) == (429, "7")
        client.read_to(b"later")
    else:
        assert status == 403
        logged = [record["message"] for record in server.records(connection, "logged")]
        assert any("403 instead of 429" in message for message in logged)


# contract: D7
def test_client_that_leaves_before_accept(
    server: Running, client: RawClient, connection: str
) -> None:
    """`accept` raises."""
    client.ask(f"/ours/late_accept?id={connection}")
    server.wait_for(connection, "entered")
    client.reset()
    ended = ended_promptly(server, connection)
    assert ended["error"] == DISCONNECTED
    assert not server.records(connection, "accepted")


# -------------------------------------------------------------------------------- the client goes


@pytest.fixture(params=list(LEAVING))
def way(request: pytest.FixtureRequest) -> str:
    """A way for the client to go."""
    name: str = request.param
    return name


SEEN = {
    "hypercorn": ((1006, ""), 1006),
    "anycorn": ((4001, ""), 1006),
    "uvicorn-sansio": ((4001, "bye"), 1005),
    "uvicorn-wsproto": ((4001, "bye"), 1005),
    "uvicorn-0.30-wsproto": ((4001, "bye"), 1005),
    "uvicorn-legacy": ((4001, "bye"), 1006),
    "uvicorn-0.30-legacy": ((4001, "bye"), 1006),
    "granian": ((4001, ""), 1005),
    "daphne": ((4001, ""), 1006),
}
"""What a server says of a client's close frame (4001 "bye"), and of every other end."""


def seen(row: Server, way: str) -> tuple[int | None, str]:
    """The code and the reason that a handler gets."""
    frame, other = SEEN[max((name for name in SEEN if row.name.startswith(name)), key=len)]
    return frame if way == "close frame" else (other, "")


# contract: R6, D6, X3
def test_reader(
    server: Running,
    row: Server,
    client: RawClient,
    connection: str,
    way: str,
    record_property: Callable[[str, object], None],
) -> None:
    """The loop of a reader ends, its block is silent, and the code is what the server said."""
    open_(client, "echo", connection)
    client.send("one", b"two")
    assert [client.read_message(), client.read_message()] == [(TEXT, b"one"), (BINARY, b"two")]
    LEAVING[way](client)
    ended = ended_promptly(server, connection)
    assert ended["error"] is None
    assert children_cleaned(server, connection)
    (read,) = server.records(connection, "read")
    record_property("code", read["code"])
    record_property("reason", read["reason"])
    assert (read["count"], (read["code"], read["reason"])) == (2, seen(row, way))
    noticed = server.records(connection, "noticed")[0]
    assert (read["code"], read["reason"]) == (noticed["code"], noticed["reason"] or "")


# contract: D2, D4, L2, X3
@pytest.mark.parametrize("handler", ["idle", "push"])
def test_handler_that_does_not_read(
    server: Running, row: Server, client: RawClient, connection: str, handler: str, way: str
) -> None:
    """Body and children are cancelled together; one exception leaves the block."""
    open_(client, handler, connection)
    server.wait_for(connection, "accepted")
    LEAVING[way](client)
    ended = ended_promptly(server, connection)
    assert (ended["error"], (ended["code"], ended["reason"])) == (DISCONNECTED, seen(row, way))
    assert children_cleaned(server, connection)


# contract: D1, D4, X3
def test_task_groups_inside(server: Running, client: RawClient, connection: str, way: str) -> None:
    """One bare exception leaves the block, whatever groups it came through."""
    open_(client, "groups", connection)
    client.read()
    LEAVING[way](client)
    assert ended_promptly(server, connection)["error"] == DISCONNECTED


# contract: D3, R5
def test_unread_messages(server: Running, client: RawClient, connection: str) -> None:
    """Every message that came before the close frame is delivered before the end."""
    open_(client, "late_reader", connection)
    sent = [f"message {number}" for number in range(20)]
    client.send(*sent)
    LEAVING["close frame"](client)
    ended = server.wait_for(connection, "ended")
    assert ended["error"] is None
    assert server.wait_for(connection, "read")["messages"] == sent


# contract: D3
def test_unread_messages_of_a_handler_that_never_reads(
    server: Running, client: RawClient, connection: str
) -> None:
    """It is cancelled when its grace period, of 0.1 s, is over."""
    open_(client, "never_reads", connection)
    server.wait_for(connection, "accepted")
    client.send(*["message"] * 20)
    LEAVING["close frame"](client)
    assert ended_promptly(server, connection)["error"] == DISCONNECTED
    assert children_cleaned(server, connection)


# contract: D2
def test_close_frame_on_a_line_that_stays_open(
    server: Running, client: RawClient, connection: str
) -> None:
    """The close frame notifies the handler; the end of the TCP connection is not needed."""
    open_(client, "idle", connection)
    server.wait_for(connection, "accepted")
    client.close(4001, "bye")
    assert ended_promptly(server, connection)["error"] == DISCONNECTED


# contract: D2
def test_frame_that_breaks_the_protocol(
    server: Running, client: RawClient, connection: str
) -> None:
    """It ends the connection, and the handler is notified."""
    open_(client, "idle", connection)
    server.wait_for(connection, "accepted")
    client.socket.sendall(b"\xff" * 16)
    assert ended_promptly(server, connection)["error"] == DISCONNECTED


# contract: X8
@pytest.mark.parametrize("handler", ["echo", "push"])
def test_a_client_that_leaves_is_no_error(
    server: Running, client: RawClient, connection: str, handler: str, way: str
) -> None:
    """`websocket_app` gives the server nothing to log."""
    log_failure(server)
    before = len(server.log)
    assert client.open(f"/app/{handler}?id={connection}") == 101
    server.wait_for(connection, "accepted")
    LEAVING[way](client)
    assert server.wait_for(connection, "ended", PROMPTLY)["error"] is None
    assert "Traceback" not in server.log[before:]
    assert DISCONNECTED not in server.log[before:]


# ----------------------------------------------------------------------------------- strict mode


ANNOUNCED = {"hypercorn": "2.3", "anycorn": "2.3", "uvicorn": "2.4", "granian": "2.3"}
"""The version of ASGI that a server announces; daphne says nothing."""

STRICT = {
    "uvicorn-legacy": {"close frame": "raised RuntimeError", "FIN": "raised RuntimeError"},
    "uvicorn-0.30-legacy": {"close frame": "raised RuntimeError", "FIN": "raised RuntimeError"},
    "uvicorn-0.30-wsproto": {"FIN": "raised nothing"},
}
"""Where strict mode has something to say: servers that announce ASGI 2.4 and do not keep it."""


# contract: D9
@pytest.mark.parametrize("handler", ["strict_reader", "strict_pusher"])
@pytest.mark.parametrize("way", ["close frame", "FIN"])
def test_strict_mode(
    server: Running,
    row: Server,
    client: RawClient,
    connection: str,
    handler: str,
    way: str,
    record_property: Callable[[str, object], None],
) -> None:
    """It reports a server that does less than it announces, and lets its own errors through."""
    open_(client, handler, connection)
    client.send("x")
    client.read()
    LEAVING[way](client)
    ended = ended_promptly(server, connection)
    if handler == "strict_reader":
        assert ended["error"] is None
    else:
        # Between the close frame and the hang-up, daphne raises an error of its own.
        own_error = {"Disconnected"} if (row.name, way) == ("daphne", "close frame") else set()
        assert ended["error"] in {DISCONNECTED} | own_error
    warnings = [record["message"] for record in server.records(connection, "logged")]
    announced = server.wait_for(connection, "announced")["asgi"].get("spec_version")
    record_property("announces", announced)
    record_property("strict", warnings)
    assert announced == ANNOUNCED.get(row.distribution)
    expected = next((STRICT[name] for name in STRICT if row.name.startswith(name)), {}).get(way)
    if expected is None:
        assert warnings == []
    elif handler == "strict_reader" or warnings:
        # A pusher's own late send may have got the server's OSError before.
        (warning,) = warnings
        assert warning.startswith(
            f"the server announces ASGI 2.4, but a send after the disconnect {expected}"
        )


# --------------------------------------------------------------------------------------- sending


# contract: S8
def test_loop_of_sends(server: Running, client: RawClient, connection: str) -> None:
    """It ends with its client and does not freeze the process."""
    open_(client, "send_loop", connection)
    client.read()
    client.socket.close()
    assert server.wait_for(connection, "ended")["error"] == DISCONNECTED
    assert server.answers


# contract: S1
def test_eight_senders(server: Running, connection: str) -> None:
    """Their messages arrive whole and once, each sender's in order, however slow the reader is."""
    with server.client(receive_buffer=16384) as client:
        open_(client, "senders", connection)
        arrived: dict[int, list[int]] = {name: [] for name in range(8)}
        for _ in range(8 * 20):
            _, message = client.read_message()
            name, number = message[0], message[1]
            assert message == bytes([name, number]) * (CHUNK // 2)
            arrived[name].append(number)
        assert arrived == {name: list(range(20)) for name in range(8)}
        client.close(1000)


# contract: S3
def test_cancelled_sends(server: Running, connection: str) -> None:
    """A cancelled send went out whole or not at all, and the connection is as good as before."""
    with server.client(receive_buffer=4096) as client:
        open_(client, "cancelled_sends", connection)
        time.sleep(0.05)
        arrived = []
        while (message := client.read_message()[1]) != b"last":
            assert message == message[:4] * (CHUNK // 4)
            arrived.append(int(message[:4]))
        sent = server.wait_for(connection, "sent")["done"]
        assert arrived == sorted(arrived)
        assert {*sent} <= {*arrived}
        client.close(1000)


# contract: S3
def test_cancelled_sends_with_compression(server: Running, connection: str) -> None:
    """Neither does it spoil the compressor."""
    with connect(server.url("/ours/cancelled_sends", connection), max_queue=1) as client:
        for message in client:
            assert isinstance(message, str)
            if message == "last":
                break
            assert message == message[:4] * (CHUNK // 4)


# contract: S10, T4
def test_client_that_stops_reading(server: Running, connection: str) -> None:
    """The server's buffers fill, then `send_timeout` ends the connection and the clean-up runs."""
    with server.client(receive_buffer=4096) as client:
        open_(client, "stalled", connection)
        accepted = server.wait_for(connection, "accepted")
        sent = server.wait_for(connection, "sent", 3)
        assert sent.time - accepted.time >= 0.2
        assert sent["count"] < 1000
        client.reset()
        ended = server.wait_for(connection, "ended")
        assert (ended["error"], ended["cause"]) == (DISCONNECTED, "TimeoutError")


# contract: C5
def test_leaving_a_client_that_stops_reading(server: Running, connection: str) -> None:
    """The block is left within `close_timeout`, though nothing can be sent."""
    with server.client(receive_buffer=4096) as client:
        open_(client, "stalled", connection)
        server.wait_for(connection, "sent", 3)
        server.wait_for(connection, "ended", 0.2 + PROMPTLY)


# ------------------------------------------------------------------------------------- receiving


# contract: R1
def test_cancelled_receives(server: Running, client: RawClient, connection: str) -> None:
    """They lose nothing."""
    open_(client, "impatient_reader", connection)
    sent = [str(number) for number in range(300)]
    for start in range(0, 300, 5):
        client.send(*sent[start : start + 5])
        time.sleep(0.001)
    read = server.wait_for(connection, "read")
    assert read["messages"] == sent
    assert read["cancelled"] > 0


# contract: R1, S1
def test_big_message(client: RawClient, connection: str) -> None:
    """A message of 900 KB goes through in both directions, also when it came in parts."""
    open_(client, "echo", connection)
    whole = bytes(range(256)) * 3600
    client.send(whole)
    assert client.read_message() == (BINARY, whole)
    client.send_in_parts(whole[:10], b"", whole[10:])
    assert client.read_message() == (BINARY, whole)


# contract: R2, T4
def test_client_that_sends_too_fast(server: Running, client: RawClient, connection: str) -> None:
    """The server stops reading it, and nothing is lost."""
    open_(client, "slow_reader", connection)
    client.socket.settimeout(0.15)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    count, rest = 0, b""
    with suppress(TimeoutError):
        for count in range(512):  # 16 MB
            rest = frame(TEXT, b"%08d" % count + bytes(CHUNK))
            while rest:
                rest = rest[client.socket.send(rest) :]
    stopped = bool(rest)
    server.get(f"/release?id={connection}")
    client.socket.settimeout(5)
    client.socket.sendall(rest)
    LEAVING["close frame"](client)
    assert server.wait_for(connection, "read")["numbers"] == list(range(count + 1))
    assert server.wait_for(connection, "reads")["used"] <= 2
    assert stopped


# contract: T4, C3
def test_message_over_the_limit(server: Running, client: RawClient, connection: str) -> None:
    """Earlier messages are read, and the client gets the reason."""
    open_(client, "small_messages", connection)
    client.send("x" * 1000, "x" * 1001, "x")
    assert standard(answer_close(client)[0]) == 1009
    assert server.wait_for(connection, "read")["lengths"] == [1000]


# --------------------------------------------------------------------------------------- closing


# contract: C4
def test_normal_end(server: Running, client: RawClient, connection: str) -> None:
    """A handler that returns closes with 1000."""
    open_(client, "leave", connection)
    assert answer_close(client)[0] == 1000
    assert server.wait_for(connection, "ended")["error"] is None


# contract: C1, C2, C3, D6
@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 3000, 4999])
def test_own_close_code(server: Running, client: RawClient, connection: str, code: int) -> None:
    """What was queued goes out, then the close with its code; the server's echo changes nothing."""
    open_(client, "close_with", connection, code=code)
    assert [client.read_message()[1] for _ in range(50)] == [b"%d" % n for n in range(50)]
    assert answer_close(client)[0] == code
    ended = server.wait_for(connection, "ended")
    assert (ended["error"], ended["close_code"], ended["close_reason"]) == (None, code, "enough")


# contract: C1
def test_own_close_reason(client: RawClient, connection: str) -> None:
    """The client gets the reason."""
    open_(client, "close_with", connection, code=4000)
    assert answer_close(client) == (4000, "enough")


# contract: C4, C5
def test_close_that_is_not_answered(server: Running, client: RawClient, connection: str) -> None:
    """The block is left within `close_timeout`."""
    open_(client, "close_once", connection)
    client.read_close()
    ended = server.wait_for(connection, "ended", 0.3 + PROMPTLY)
    assert ended["error"] is None


# contract: X1
def test_handler_that_fails(server: Running, client: RawClient, connection: str) -> None:
    """The error itself leaves the block, the client gets 1011 and nothing of the error."""
    open_(client, "fail", connection)
    code, reason = answer_close(client)
    ended = server.wait_for(connection, "ended")
    text = f"a bug of the handler of {connection}."
    assert (ended["error"], ended["text"]) == ("LookupError", text)
    assert children_cleaned(server, connection)
    assert "bug" not in reason
    assert standard(code) == 1011


# contract: X2
def test_child_that_fails(server: Running, client: RawClient, connection: str) -> None:
    """Its siblings and the body are cancelled, and its error leaves in a group."""
    open_(client, "fail_in_child", connection)
    client.send("go")
    code, _ = answer_close(client)
    ended = server.wait_for(connection, "ended")
    assert (ended["error"], ended["errors"]) == ("ExceptionGroup", ["LookupError"])
    assert server.records(connection, "cancelled")
    assert standard(code) == 1011


# contract: X8
def test_what_the_server_logs(server: Running) -> None:
    """An error of the handler reaches the server through `websocket_app`."""
    log_failure(server)


# contract: T4
def test_idle_client(server: Running, client: RawClient, connection: str) -> None:
    """`idle_timeout` closes with 1001."""
    open_(client, "impatient_echo", connection)
    assert standard(answer_close(client)[0]) == 1001


# --------------------------------------------------------------------------------- what is left


def burst_and_reset(client: RawClient) -> None:
    client.send(*["message"] * 50)
    client.reset()


# contract: L2, R7, S9
def test_nothing_is_left(server: Running) -> None:
    """After 20 connections that ended in every way, no task and no descriptor is left."""
    server.settled_stats()
    before = server.settled_stats()
    for leave in (*LEAVING.values(), burst_and_reset):
        for handler in ("echo", "never_reads", "push", "leave"):
            connection = server.new_id()
            with server.client() as client:
                open_(client, handler, connection)
                with suppress(OSError, ServerGone):
                    leave(client)
            server.wait_for(connection, "ended")
    server.assert_nothing_left(before)


# contract: X5, L2
def test_sigterm(server: Running, row: Server) -> None:
    """Every client gets a close frame, every handler's clean-up runs, and the process ends."""
    with ExitStack() as stack:
        clients: dict[str, RawClient] = {}
        for handler in ("echo", "idle", "push"):
            connection = server.new_id()
            client = clients[connection] = stack.enter_context(server.client())
            open_(client, handler, connection)
            server.wait_for(connection, "accepted")
        server.terminate()
        codes = {standard(answer_close(client)[0]) for client in clients.values()}
        for connection in clients:
            assert children_cleaned(server, connection)
    server.process.wait(row.stop_within)
    assert codes <= {1001, 1012}
