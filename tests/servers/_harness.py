"""Real server processes on a loopback port that the system chooses.

A new server is a new row in `_rows`. Where a server can take a descriptor, the test binds and
listens itself: there is no race for the port and no moment at which a connect is refused.
"""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.servers import _reports
from tests.servers._clients import RawClient
from tests.servers._reports import Record, Records
from tests.servers._rows import ROOT as ROOT
from tests.servers._rows import SERVERS as SERVERS
from tests.servers._rows import Server as Server

APP = "tests.servers.apps:app"


class Running:
    """A started server."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        port: int,
        directory: Path,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.process = process
        self._trust = trust
        self.port = port
        self._log = directory / "log"
        self._records = Records(directory / "report")
        self._ids = 0

    def new_id(self) -> str:
        """A name for the next connection, unique in this server's life."""
        self._ids += 1
        return f"c{self._ids}"

    def url(self, path: str, connection: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}?id={connection}"

    def client(self, *, receive_buffer: int | None = None, timeout: float = 5) -> RawClient:
        return RawClient(self.port, receive_buffer=receive_buffer, timeout=timeout)

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def records(self, connection: str, event: str | None = None) -> list[Record]:
        records = self._records.of(connection)
        return [record for record in records if event in (None, record.event)]

    def wait_for(self, connection: str, event: str, timeout: float = 5) -> Record:
        """The first such record, once there is one."""

        def found() -> bool:
            return bool(self.records(connection, event))

        assert wait_until(found, timeout), (
            f"no {event!r} from {connection} in {timeout} s, only {self.records(connection)}\n"
            f"--- the end of the server's log:\n{self.log[-2000:]}"
        )
        return self.records(connection, event)[0]

    def stats(self) -> dict[str, int]:
        """What the process holds now; the request itself is a part of it, always the same one."""
        stats: dict[str, int] = json.loads(self.get("/stats"))
        return stats

    def get(self, path: str) -> bytes:
        """The body of an HTTP answer, whatever its status."""
        if self._trust is None:
            connecting = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        else:
            connecting = http.client.HTTPSConnection(
                "localhost", self.port, timeout=5, context=self._trust
            )
        with closing(connecting) as connection:
            connection.request("GET", path, headers={"Connection": "close"})
            return connection.getresponse().read()

    def settled_stats(self) -> dict[str, int]:
        """The stats when they have stopped changing."""
        last = self.stats()
        for _ in range(50):
            time.sleep(0.05)
            stats = self.stats()
            if stats == last:
                break
            last = stats
        return last

    def assert_nothing_left(self, before: dict[str, int], timeout: float = 15) -> None:
        """Every task and descriptor of the connections since `before` is gone."""

        def as_before() -> bool:
            now = self.stats()
            return all(now[what] <= before[what] for what in before)

        assert wait_until(as_before, timeout), f"{before} before, now {self.stats()}\n{self.log}"

    @property
    def answers(self) -> bool:
        """Is the worker alive? (Hypercorn's parent process may outlive it for a moment.)"""
        try:
            self.get("/stats")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def terminate(self) -> None:
        """Ask the server to stop, as a supervisor does."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the server and its workers without asking."""
        kill_group(self.process)

    def processes_left(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


def kill_group(process: "subprocess.Popen[Any]") -> None:
    """Kill a process that leads a session, and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def running(
    server: Server,
    *,
    arguments: Sequence[str] = (),
    app: str = APP,
    expect_clean_stop: bool = True,
    trust: ssl.SSLContext | None = None,
) -> Iterator[Running]:
    """Start the server, stop it at the end with SIGTERM. Skips if it cannot be installed.

    Args:
        server: a row of the table.
        arguments: more command line options.
        app: the application to serve.
        expect_clean_stop: whether every process of it must end in time after SIGTERM.
        trust: the certificates to trust, if it serves TLS.
    """
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.create_server(("127.0.0.1", 0), backlog=1024) as listener,
    ):
        path = Path(directory)
        (path / "report").touch()
        port = listener.getsockname()[1]
        process = _start(server, listener, path, [*arguments], app)
        started = Running(process, port, path, trust)
        listener.close()
        try:
            wait_until(lambda: started.answers or process.poll() is not None, 20)
            assert started.answers, started.log
            yield started
            if expect_clean_stop:
                _stop(started, server.stop_within)
        finally:
            started.kill()


def _start(
    server: Server, listener: socket.socket, directory: Path, arguments: list[str], app: str
) -> "subprocess.Popen[bytes]":
    fd, port = listener.fileno(), listener.getsockname()[1]
    paths = [*server.import_path(), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [argument.format(app=app, fd=fd, port=port) for argument in server.command]
    if not any("{fd}" in argument for argument in server.command):
        listener.close()  # the server will bind to the port that was free just now
    with (directory / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *command, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                _reports.ENVIRONMENT_VARIABLE: str(directory / "report"),
            },
            pass_fds=[] if listener.fileno() == -1 else [fd],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _stop(started: Running, timeout: float) -> None:
    started.terminate()
    try:
        started.process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"the server ignored SIGTERM for {timeout} s\n{started.log}") from None
    assert wait_until(lambda: not started.processes_left(), 3), "the server left processes behind"


def wait_until(condition: Callable[[], Any], timeout: float) -> bool:
    """Ask every 2 ms; False when the time is over."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True
