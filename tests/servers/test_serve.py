"""`python -m wsnursery serve` as a process: it drains before it stops, whatever the peers do."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers._clients import TEXT, frame, handshake
from tests.servers._harness import wait_until
from tests.servers._rows import ROOT
from tests.servers._serving import LATE, Crowd, Start, assert_ends, stop, workers_of


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_every_client_gets_the_close(start: Start, how: signal.Signals) -> None:
    with start() as server, ExitStack() as stack:
        crowd = Crowd(server, stack)
        for path in ("/ours/echo", "/ours/idle", "/ours/push", "/raw/echo"):
            crowd.join(path)
        blind = crowd.join("/raw/idle")  # it does not look whether there is a client
        began = stop(server, how)
        for connection, client in crowd.clients.items():
            assert client.read_close() == (1012, "")
            client.close(1012)
            if client is blind:
                server.get(f"/release?id={connection}")
            ended = server.wait_for(connection, "ended")
            # A body that was waiting elsewhere is cut; a loop that reads ends by itself.
            assert ended["error"] in {None, "WebSocketDisconnected", "ClosedResourceError"}
        assert_ends(server, began, within=2)


def test_new_handshakes_are_refused_while_it_drains(start: Start) -> None:
    with start() as server, ExitStack() as stack:
        crowd = Crowd(server, stack)
        slow = crowd.join("/ours/slow_to_leave")
        (connection,) = crowd.clients
        began = stop(server)
        assert slow.read_close() == (1012, "")
        slow.close(1012)
        with server.client() as late:
            late.socket.sendall(handshake("/ours/echo?id=late"))
            answer = late.read_all()
        with server.client() as hasty:  # the server answers it in two steps
            hasty.socket.sendall(handshake("/ours/echo?id=late") + frame(TEXT, b"early"))
            assert hasty.socket.recv(4096).startswith(b"HTTP/1.1 ")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer
        assert b"try again" in answer
        server.get(f"/release?id={connection}")  # HTTP goes on
        assert server.wait_for(connection, "ended")["error"] is None
        assert_ends(server, began, within=2)


def test_the_closes_are_spread(start: Start) -> None:
    with start(drain_spread=1.0) as server, ExitStack() as stack:
        crowd = Crowd(server, stack)
        for _ in range(40):
            crowd.join("/ours/echo")
        began = stop(server)
        times = []
        for client in crowd.clients.values():
            assert client.read_close()[0] == 1012
            client.close(1012)
            times.append(time.monotonic() - began)
        assert_ends(server, began, within=2)
    # Ten go in each tenth of a second. None can be early, and what is late says nothing.
    assert all(seconds > 0.1 * (number // 10) for number, seconds in enumerate(times))
    assert times[-1] < 1.0 + LATE


def test_a_handler_that_takes_too_long_is_cancelled(start: Start) -> None:
    with (
        start(drain_timeout=0.5, drain_spread=0, graceful_timeout=0.5) as server,
        ExitStack() as stack,
    ):
        crowd = Crowd(server, stack)
        client = crowd.join("/ours/slow_to_leave")
        raw = crowd.join("/raw/idle")
        began = stop(server)
        for each in (client, raw):
            assert each.read_close()[0] == 1012
            each.close(1012)
        assert assert_ends(server, began, within=3) > 0.4


def test_a_second_signal_cuts_it_short(start: Start) -> None:
    with start() as server, ExitStack() as stack:
        client = Crowd(server, stack).join("/ours/slow_to_leave")
        began = stop(server)
        assert client.read_close()[0] == 1012
        client.close(1012)
        stop(server)
        assert_ends(server, began, within=1)


def test_a_client_that_sends_garbage_while_it_is_pinged(start: Start) -> None:
    """Hypercorn closes the connection while a task of its own may be sending the ping."""
    with start(websocket_ping_interval=0.0005) as server:
        for path in ("/ours/idle", "/raw/idle"):
            for _ in range(100):
                with server.client() as client:
                    assert client.open(path) == 101
                    client.read()
                    client.socket.sendall(b"\xff" * 16)
                    client.read_all()
        assert server.answers


def test_readers_that_have_stopped_do_not_hold_it(start: Start) -> None:
    settings = {"drain_timeout": 0.5, "drain_spread": 0.0, "graceful_timeout": 0.5}
    with start(**settings) as server, ExitStack() as stack:
        crowd = Crowd(server, stack)
        for _ in range(2):
            crowd.join("/ours/flood", receive_buffer=4096)
            crowd.join("/raw/flood", receive_buffer=4096)
            client = stack.enter_context(server.client(receive_buffer=4096))
            client.socket.sendall(b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.socket.recv(10) == b"HTTP/1.1 2"
        began = stop(server)
        assert_ends(server, began, within=0.5 + 2 * 0.5 + 3)


def test_several_workers(start: Start) -> None:
    with start(workers=2) as server, ExitStack() as stack:
        crowd = Crowd(server, stack)
        workers = workers_of(server, 2)
        crowd.join_each(workers, "/ours/echo", 10)
        accepted = [server.wait_for(each, "accepted")["process"] for each in crowd.clients]
        assert sorted(accepted) == sorted(workers * 10)
        began = stop(server, signal.SIGINT)
        for client in crowd.clients.values():
            assert client.read_close() == (1012, "")
            client.close(1012)
        assert_ends(server, began, within=2)


def test_a_room_without_an_engine_says_that_it_is_one_of_several(start: Start) -> None:
    with start(app="tests.servers.apps:lobby", workers=2) as server, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(server.client()).open("/")
        sentence = "room 'lobby' has the members of this one of 2 workers"
        assert wait_until(lambda: sentence in server.log, 5)
        assert 1 <= server.log.count(sentence) <= 2


def test_a_worker_that_is_killed_is_replaced(start: Start) -> None:
    with start(workers=2, graceful_timeout=0.5) as server, ExitStack() as stack:
        crowd = Crowd(server, stack)
        first, second = workers_of(server, 2)
        crowd.join_each((first, second), "/ours/echo", 5)
        os.kill(first, signal.SIGKILL)
        (third,) = set(workers_of(server, 3)) - {first, second}
        assert f"worker {first} has died (SIGKILL): another one starts in 0.5 s" in server.log
        for connection, client in crowd.clients.items():
            if server.wait_for(connection, "accepted")["process"] == second:
                client.send("still here")
                while client.read()[1] != b"still here":
                    pass
                client.close(1000)
        newcomers = Crowd(server, stack)
        newcomers.join_each((second, third), "/ours/echo", 2)
        began = stop(server)
        for client in newcomers.clients.values():
            assert client.read_close() == (1012, "")
            client.close(1012)
        assert_ends(server, began, within=3)


def test_the_parent_is_killed(start: Start) -> None:
    """The workers drain, because no process could restart or stop them."""
    with start(workers=2) as server, ExitStack() as stack:
        crowd = Crowd(server, stack)
        crowd.join_each(workers_of(server, 2), "/ours/echo", 10)
        began = time.monotonic()
        os.kill(server.process.pid, signal.SIGKILL)
        for client in crowd.clients.values():
            assert client.read_close() == (1012, "")
            client.close(1012)
        assert_ends(server, began, within=2, status=-signal.SIGKILL)


SHORT = {
    "drain_timeout": 0.5,
    "drain_spread": 0.0,
    "graceful_timeout": 0.2,
    "shutdown_timeout": 0.5,
}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("shielded", "a handler does not end: websocket '/ours/shielded' of 127.0.0.1"),
        ("stuck", "the event loop does not end: it stands in stuck (apps.py:"),
    ],
)
def test_it_ends_in_time_whatever_a_handler_does(
    start: Start, how: signal.Signals, name: str, line: str
) -> None:
    with start(**SHORT) as server, ExitStack() as stack:
        Crowd(server, stack).join(f"/ours/{name}")
        began = stop(server, how)
        bound = 0.5 + 1 + 2 * (0.2 + 1) + 0.5
        took = assert_ends(server, began, within=bound + 3, status=None)
        if server.process.returncode == 0:
            # The cancellations of asyncio go through any shield of anyio's.
            assert (name, "asyncio" in server.log) == ("shielded", True)
        else:
            assert server.process.returncode == 1
            assert line in server.log
            assert took > 1


@pytest.mark.parametrize("name", ["shielded", "stuck"])
def test_a_second_signal_ends_it_soon_and_a_third_at_once(start: Start, name: str) -> None:
    for count, within in ((2, 3.5), (3, 0.5)):
        with start() as server, ExitStack() as stack:
            Crowd(server, stack).join(f"/ours/{name}")
            began = stop(server)
            for _ in range(count - 1):
                time.sleep(0.2)
                began = stop(server)
            assert_ends(server, began, within=within, status=None)


def test_it_says_what_it_does(start: Start) -> None:
    with start() as server, ExitStack() as stack:
        crowd = Crowd(server, stack)
        for _ in range(3):
            crowd.join("/ours/echo")
        began = stop(server)
        for client in crowd.clients.values():
            client.read_close()
            client.close(1012)
        assert_ends(server, began, within=2)
        assert "[INFO] started on http://127.0.0.1:" in server.log
        assert "[INFO] draining 3 WebSockets for at most 15 s" in server.log
        assert "s: 3 closed, 0 cancelled, 0 still there" in server.log


def test_what_the_application_raises_at_its_start_is_shown_once(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    raise LookupError('no database')\n"
    )
    for arguments in ([], ["-w", "2"]):
        for worker in ("trio", "asyncio"):
            done = serve_command(
                *arguments, "-k", worker, "-b", "127.0.0.1:0", "broken:app", cwd=tmp_path
            )
            assert done.returncode == 1
            assert done.stderr.count("LookupError: no database") == 1
            assert 'broken.py", line 3, in app' in done.stderr


# What a deployer gets wrong: one sentence, no traceback, and a status that is not 0.


def serve_command(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "wsnursery", "serve", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def complaint(*arguments: str, cwd: Path = ROOT) -> str:
    done = serve_command(*arguments, cwd=cwd)
    assert done.returncode == 1
    assert done.stdout == ""
    logged = ("Running on", "the service ends")
    *others, sentence = [
        line for line in done.stderr.splitlines() if not any(text in line for text in logged)
    ]
    assert others == []
    return sentence


def test_what_a_deployer_gets_wrong(tmp_path: Path) -> None:
    config = tmp_path / "hypercorn.toml"
    config.write_text("websocket_ping_intervall = 5\n")
    (tmp_path / "no_start.py").write_text(
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    )
    key = tmp_path / "key.pem"
    key.write_text("")
    app = "examples.echo:app"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert complaint("-b", address, app) == (
            f"cannot listen on {address}: [Errno 98] Address already in use"
        )
        assert complaint("-w", "2", "-b", address, app).startswith(f"cannot listen on {address}: ")
    assert "worker_class must be one of asyncio, trio, uvloop, got 'gevent'" in complaint(
        "-k", "gevent", app
    )
    assert "there is no setting 'websocket_ping_intervall'" in complaint("-c", str(config), app)
    config.write_text(f"certfile = {str(tmp_path / 'cert.pem')!r}\nkeyfile = {str(key)!r}\n")
    assert complaint("-c", str(config), app).endswith("cert.pem: No such file or directory")
    config.write_text(f"certfile = {str(key)!r}\nkeyfile = {str(key)!r}\n")
    assert complaint("-c", str(config), app).startswith("cannot serve TLS with ")
    free = ("-b", "127.0.0.1:0")
    assert complaint(*free, "nothing:app") == (
        "cannot load the application 'nothing:app': No module named 'nothing'"
    )
    assert "nothing:app" in complaint(*free, "-w", "2", "nothing:app")
    (tmp_path / "wrong.py").write_text(
        "import asyncio, trio\n"
        "app = {}\n"
        "async def uses_trio(scope, receive, send):\n"
        "    await trio.sleep(0)\n"
        "async def uses_asyncio(scope, receive, send):\n"
        "    await asyncio.sleep(1)\n"
    )
    assert "'wrong:app' is a dict" in complaint(*free, "wrong:app", cwd=tmp_path)
    for worker, other in (("trio", "asyncio"), ("asyncio", "trio")):
        assert complaint("-k", worker, *free, f"wrong:uses_{other}", cwd=tmp_path) == (
            f"the application uses {other}, but this worker runs {worker}: "
            f"start it with `-k {other}`, or worker_class = {other!r} in the configuration"
        )
    for worker in ("trio", "asyncio"):
        assert complaint("-k", worker, *free, "no_start:app", cwd=tmp_path) == (
            "Lifespan failure in startup. 'no database'"
        )
