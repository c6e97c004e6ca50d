"""The server as a process: its start, the errors of a failed start, and its end."""

import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wsnursery._doctor import _process
from wsnursery._doctor._commands import Command
from wsnursery._doctor._process import HOST, CannotExamine, ServerProcess, started

SERVER = """
import http.server, json, os, sys
tasks = 0

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global tasks
        tasks += STEP
        body = json.dumps({"pid": PID, "tasks": tasks}).encode() if BODY else b"not JSON"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def serving(*, step: int = 0, pid: str = "7", body: bool = True) -> Command:
    """A server that answers the question for its stats."""
    source = SERVER.replace("STEP", str(step)).replace("PID", pid).replace("BODY", str(body))
    return python(source, "{port}")


def python(source: str, *arguments: str) -> Command:
    return Command("shown", (sys.executable, "-c", source, *arguments))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here takes long; `wait_until` keeps its meaning."""
    monkeypatch.setattr(_process, "SETTLED", 0.001)
    monkeypatch.setattr(_process, "LET_GO", 0.1)


def test_a_server_runs_and_is_gone_after() -> None:
    with started(serving(), 1) as process:
        assert process.settled_stats() == {"pid": 7, "tasks": 0}
        assert process.answers()
        process.terminate()
        assert _process.wait_until(lambda: not process.answers(), 5)
    with socket.socket() as client:
        assert client.connect_ex((HOST, process.port)) != 0


def test_stats_that_do_not_settle() -> None:
    with started(serving(step=1), 1) as process:
        before = process.settled_stats()
        assert before["tasks"] > 50
        assert process.left_over(before) == {"tasks": pytest.approx(10, abs=9)}
        assert process.left_over({**before, "tasks": 10_000}) == {}


def test_another_worker_answers() -> None:
    with started(serving(pid="os.getppid()"), 1) as process:
        assert process.left_over({"pid": 0, "tasks": 0}) == {}


def test_a_server_that_ends_at_once() -> None:
    command = python("import sys; print('first'); sys.exit('no such application')")
    message = "ended with status 1 before it listened on 127.0.0.1:[0-9]+: no such application$"
    with pytest.raises(CannotExamine, match=message), started(command, 1):
        pass


def test_a_server_that_says_nothing() -> None:
    with (
        pytest.raises(CannotExamine, match=r"status 3 .*: it printed nothing$"),
        started(python("raise SystemExit(3)"), 1),
    ):
        pass


@pytest.mark.parametrize("command", [serving(body=False), python("import time; time.sleep(60)")])
def test_a_server_that_does_not_serve_the_application(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_process, "START", 0.5)
    with (
        pytest.raises(CannotExamine, match=r"did not serve the probe application on .* within 0.5"),
        started(command, 1),
    ):
        pass


def test_a_program_that_is_not_there() -> None:
    command = Command("shown", ("no-such-program", "{app}"))
    message = "^cannot run 'no-such-program': No such file or directory$"
    with pytest.raises(CannotExamine, match=message), started(command, 1):
        pass


def test_kill_after_the_end(tmp_path: Path) -> None:
    class Ended:
        pid = 2**22 + 1  # above what Linux gives
        waited = False

        def wait(self) -> None:
            self.waited = True

    ended: Any = Ended()
    ServerProcess(ended, 1, tmp_path).kill()
    assert ended.waited


def test_stats_of_something_else(tmp_path: Path) -> None:
    with closing(socket.create_server((HOST, 0))) as listener:
        port = listener.getsockname()[1]
    process: Any = ServerProcess(None, port, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="refused"):
        process.stats()
