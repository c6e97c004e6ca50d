"""Hypercorn as `wsnursery.hypercorn` runs it: settings, crowds of clients, and the end."""

import json
import os
import re
import signal
import ssl
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from tests.servers._clients import RawClient
from tests.servers._harness import APP, Running, Server, running, wait_until

LATE = 5.0
"""Seconds by which a busy machine may be late."""

Start = Callable[..., AbstractContextManager[Running]]
"""What the fixture `start` gives: it starts the server with settings."""


def starter(row: Server, directory: Path) -> Start:
    @contextmanager
    def start(
        *arguments: str,
        app: str = APP,
        trust: ssl.SSLContext | None = None,
        **settings: float | str,
    ) -> Iterator[Running]:
        config = directory / "hypercorn.toml"
        config.write_text(
            "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
        )
        with running(
            row,
            arguments=["-c", str(config), *arguments],
            app=app,
            expect_clean_stop=False,
            trust=trust,
        ) as server:
            yield server

    return start


class Crowd:
    """Clients of one server, by the id of their connection."""

    def __init__(self, server: Running, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self.clients: dict[str, RawClient] = {}

    def join(self, path: str, *, receive_buffer: int | None = None) -> RawClient:
        """A new client whose handler has accepted."""
        connection = self._server.new_id()
        client = self._stack.enter_context(self._server.client(receive_buffer=receive_buffer))
        assert client.open(f"{path}?id={connection}") == 101
        self._server.wait_for(connection, "accepted")
        self.clients[connection] = client
        return client

    def join_each(self, workers: Collection[int], path: str, count: int) -> None:
        """As many new clients for every worker; left to themselves, one may take all of them."""
        for chosen in workers:
            with _paused([worker for worker in workers if worker != chosen]):
                for _ in range(count):
                    self.join(path)


def workers_of(server: Running, count: int) -> list[int]:
    """The process ids of the workers, once so many have started."""

    def found() -> list[int]:
        return [int(number) for number in re.findall(r"\[(\d+)\] \[INFO\] Running on", server.log)]

    assert wait_until(lambda: len(found()) == count, 20), server.log
    return found()


@contextmanager
def _paused(processes: list[int]) -> Iterator[None]:
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        assert wait_until(lambda: all(map(_is_stopped, processes)), LATE)
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def _is_stopped(process: int) -> bool:
    """See proc_pid_stat(5): the state comes after the command's name in parentheses."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def stop(server: Running, how: signal.Signals = signal.SIGTERM) -> float:
    """Signal it; give the time."""
    began = time.monotonic()
    server.process.send_signal(how)
    return began


def assert_ends(server: Running, began: float, within: float, status: int | None = 0) -> float:
    """The process ends in time, with nothing left behind and nothing ugly in the log."""
    assert wait_until(lambda: server.process.poll() is not None, within + LATE), server.log
    took = time.monotonic() - began
    assert status in (None, server.process.wait()), server.log
    assert wait_until(lambda: not server.processes_left(), 3)
    assert "Traceback" not in server.log
    return took
