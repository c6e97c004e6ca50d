"""The server under examination, as a process."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from ._bench import ENVIRONMENT_VARIABLE
from ._client import Facts
from ._commands import Command

HOST = "127.0.0.1"

START = 20.0
"""Seconds within which a server must answer."""

SETTLED = 0.05
"""Seconds without a change after which the numbers count as stable."""

LET_GO = 25.0
"""Seconds within which a server must free ended connections. Most do so at once. Hypercorn with
pings keeps an ended connection until the next ping, every 20 seconds under `wsnursery serve`."""


class CannotExamine(Exception):
    """The server cannot be examined. The message is one sentence."""


class ServerProcess:
    """A started server.

    Args:
        process: The process.
        port: The port on which it should listen.
        log: The file with its output.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.port = port
        self._process = process
        self._log = log

    def stats(self) -> Facts:
        """Return what the server's process holds now; see `application.stats`.

        Raises:
            OSError: The server does not answer.
        """
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=3)) as connection:
            try:
                connection.request("GET", "/stats")
                facts: Facts = json.loads(connection.getresponse().read())
            except (http.client.HTTPException, ValueError) as exc:
                raise OSError("the server did not return the answer of the application") from exc
            return facts

    def settled_stats(self) -> Facts:
        """Return the stats when they have stopped changing, or after a few seconds."""
        last = self.stats()
        for _ in range(50):
            time.sleep(SETTLED)
            now = self.stats()
            if now == last:
                break
            last = now
        return last

    def left_over(self, before: Facts) -> Facts:
        """Return what the process holds in addition to before, after it had time to free things."""
        more: Facts = {}

        def is_as_before() -> bool:
            now = self.stats()
            if now.pop("pid") != before["pid"]:  # with several workers, another may answer
                return False
            more.clear()
            more.update({name: now[name] - before[name] for name in now})
            return all(count <= 0 for count in more.values())

        wait_until(is_as_before, LET_GO)
        return {name: count for name, count in more.items() if count > 0}

    def answers(self) -> bool:
        """Return whether the server answers."""
        try:
            self.stats()
        except OSError:
            return False
        return True

    def wait_for_start(self) -> None:
        """Wait until the server answers.

        Raises:
            CannotExamine: The server ended, or did not answer in time.
        """
        wait_until(lambda: self._process.poll() is not None or self.answers(), START)
        if self._process.poll() is not None:
            raise CannotExamine(
                f"the server ended with status {self._process.returncode} before it listened on "
                f"{HOST}:{self.port}: {self.last_words()}"
            )
        if not self.answers():
            raise CannotExamine(
                f"the server did not serve the probe application on {HOST}:{self.port} within "
                f"{START:g} seconds: {self.last_words()}"
            )

    def terminate(self) -> None:
        """Send the server SIGTERM, as a supervisor does."""
        self._process.terminate()

    def last_words(self) -> str:
        """Return the last line of the server's output."""
        said = self._log.read_text(encoding="utf-8", errors="replace").strip()
        return said.rpartition("\n")[2].strip() or "it printed nothing"

    def kill(self) -> None:
        """Kill the server and its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def started(command: Command, reports: int) -> Generator[ServerProcess]:
    """Start the server on a free port of the loopback interface; kill it at the end.

    Args:
        command: The command that starts the server.
        reports: The port to which its scripts report.

    Raises:
        CannotExamine: The server does not start.
    """
    with tempfile.TemporaryDirectory(prefix="wsnursery-doctor-") as directory:
        log = Path(directory) / "log"
        port = _free_port()
        process = ServerProcess(_start(command, port, reports, log), port, log)
        try:
            process.wait_for_start()
            yield process
        finally:
            process.kill()


def _start(command: Command, port: int, reports: int, log: Path) -> subprocess.Popen[bytes]:
    arguments = command.filled(HOST, port)
    environment = {**os.environ, ENVIRONMENT_VARIABLE: str(reports)}
    with log.open("wb") as output:
        try:
            return subprocess.Popen(  # noqa: S603 - the command is the user's own
                arguments,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as exc:
            raise CannotExamine(f"cannot run {arguments[0]!r}: {exc.strerror}") from exc


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Check every 20 ms. Return whether the condition became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
