"""The servers of docs/tutorial.md, started by its commands, and the terminals of its clients."""

import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests import _tutorial
from tests.servers._harness import Running, Server, running, wait_until
from tests.servers._rows import ROOT

SERVED = [
    pytest.param(step, command, id=f"{step.title}: {command}")
    for step in _tutorial.steps()
    if step.clients
    for command in step.servers
]
OTHER_WORKER = pytest.param(
    SERVED[-1].values[0],
    str(SERVED[-1].values[1]).replace(" app:app", " -k asyncio app:app"),
    id="the last one on asyncio",
)
"""The settings on the page name both workers."""


def row(command: str) -> Server:
    """A command of the page as a row of the table of servers, on a port of its own."""
    words = shlex.split(command.removeprefix("python -m "))
    *options, app = words
    assert app == "app:app"
    return Server(command, ("-m", *options, "-b", "fd://{fd}", app), "", "hypercorn")


MOVES = re.compile(r"\x1b(?:\[[A-Z]|[78])|\r")
"""How the client moves the cursor and clears a line, so that it does not tear what is typed."""


class Terminal:
    """A client in a terminal: what was printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(MOVES.sub("", line.rstrip("\n")))

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Ctrl-D."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def shows(self, line: str, after: int) -> int:
        """Wait for a line behind the first ones; return how many have been seen with it."""
        found = wait_until(lambda: line in self.lines[after:], 10)
        assert found, f"no {line!r} in {self.lines[after:]}"
        return self.lines.index(line, after) + 1

    def close(self) -> None:
        self.process.kill()
        self._reader.join()


@contextmanager
def terminal(command: str, server: Running, directory: Path) -> Iterator[Terminal]:
    words = shlex.split(command.replace(":8000/", f":{server.port}/"))
    with subprocess.Popen(
        [sys.executable, *words[1:]],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        opened = Terminal(process)
        try:
            yield opened
        finally:
            opened.close()


def replay(opened: Terminal, lines: list[str], server: Running) -> None:
    """Type what the page has typed, and wait for what it has printed, in its order."""
    seen = 0
    for line in lines:
        if line.startswith("> "):
            opened.type(line.removeprefix("> "))
            continue
        if line.startswith("Connection closed: 1000"):
            opened.end()
        elif line.startswith("Connection closed: 1012"):
            server.process.send_signal(signal.SIGINT)
        seen = opened.shows(line.replace(":8000/", f":{server.port}/"), seen)


@pytest.mark.parametrize(("step", "command"), [*SERVED, OTHER_WORKER])
def test_step(
    step: _tutorial.Step, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step.write(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    with ExitStack() as stack:
        # A configuration of the page is found where its reader stands.
        command = command.replace("-c hypercorn.toml", f"-c {tmp_path / 'hypercorn.toml'}")
        server = stack.enter_context(running(row(command), app="app:app", expect_clean_stop=False))
        for typed in step.clients:
            first, *lines = typed.splitlines()
            opened = stack.enter_context(terminal(first, server, tmp_path))
            replay(opened, lines, server)
            if lines[-1].startswith("Connection closed"):
                assert opened.process.wait(timeout=10) == 0
        if "start_soon" in step.files["app.py"]:
            # A busy machine may come to a third tick before the client is gone.
            cleaned_up = r"^the clean-up runs after \d ticks$"
            assert wait_until(lambda: re.search(cleaned_up, server.log, re.MULTILINE), 5), (
                server.log
            )
        assert "Traceback" not in server.log
