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
"""Seconds in which a server has to answer."""

SETTLED = 0.05
"""Seconds without a change after which nothing more is expected to."""

LET_GO = 25.0
"""Seconds that a server has for letting go of connections. Most need none of them; Hypercorn with
pings keeps what has ended until the next one is due, every 20 seconds under `wsnursery serve`."""


class CannotExamine(Exception):
    """The server cannot be examined; the message is one sentence."""


class ServerProcess:
    """A started server.

    Args:
        process: The process.
        port: Where it is to listen.
        log: Where its output goes.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.port = port
        self._process = process
        self._log = log

    def stats(self) -> Facts:
        """What the server's process holds now; see `application.stats`.

        Raises:
            OSError: It does not answer.
        """
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=3)) as connection:
            try:
                connection.request("GET", "/stats")
                facts: Facts = json.loads(connection.getresponse().read())
            except (http.client.HTTPException, ValueError) as exc:
                raise OSError("the server gave another answer than the application's") from exc
            return facts

    def settled_stats(self) -> Facts:
        """The same when it has stopped changing, or after a few seconds."""
        last = self.stats()
        for _ in range(50):
            time.sleep(SETTLED)
            now = self.stats()
            if now == last:
                break
            last = now
        return last

    def left_over(self, before: Facts) -> Facts:
        """What is held now and was not before, once the server had time to let go."""
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
        """Whether it serves."""
        try:
            self.stats()
        except OSError:
            return False
        return True

    def wait_for_start(self) -> None:
        """Wait until it serves.

        Raises:
            CannotExamine: It ended, or did not serve in time.
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
        """Tell the server to stop, as a supervisor does."""
        self._process.terminate()

    def last_words(self) -> str:
        """The last line of the server's output."""
        said = self._log.read_text(encoding="utf-8", errors="replace").strip()
        return said.rpartition("\n")[2].strip() or "it said nothing"

    def kill(self) -> None:
        """End the server and its workers without asking."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def started(command: Command, reports: int) -> Generator[ServerProcess]:
    """Start the server on a free port of the loopback interface; kill it at the end.

    Args:
        command: How.
        reports: The port that its scripts report to.

    Raises:
        CannotExamine: It does not start.
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
    """Ask every 20 ms; whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
