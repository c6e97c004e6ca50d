"""`python -m wsnursery serve` on a full disk, after a pause, and stopped under load."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.servers._clients import handshake
from tests.servers._harness import wait_until
from tests.servers._rows import ROOT
from tests.servers._serving import Crowd, Start, assert_ends, stop
from tests.servers.test_descriptors import answers

CLIENTS = 30
STALLED = 5
SLOW = 5


def test_a_stop_under_load_with_stalled_readers_and_slow_handshakes(start: Start) -> None:
    settings = {"drain_timeout": 2.0, "drain_spread": 0.5, "graceful_timeout": 0.5}
    with start(**settings) as server, ExitStack() as stack:
        crowd = Crowd(server, stack)
        for _ in range(STALLED):
            crowd.join("/ours/flood", receive_buffer=4096)
        clients = [crowd.join("/ours/echo") for _ in range(CLIENTS)]
        for _ in range(SLOW):
            # Half of a handshake, and nothing more.
            slow = stack.enter_context(server.client())
            slow.write(handshake("/ours/echo?id=slow")[:40])
        ended = threading.Event()

        def load() -> None:
            while not ended.is_set():
                for client in clients:
                    with suppress(OSError):
                        client.send("x" * 100)
                time.sleep(0.01)

        sender = threading.Thread(target=load)
        sender.start()
        try:
            time.sleep(0.5)
            began = stop(server)
            bound = 2 + 1 + 2 * (0.5 + 1) + 5
            assert_ends(server, began, within=bound)
        finally:
            ended.set()
            sender.join()
        for client in clients:
            # Every client got the close, after the echoes that it has not read.
            assert client.read_close()[0] == 1012


Serving = tuple[subprocess.Popen[bytes], int]
"""The process and its port."""


@contextmanager
def served(worker: str, log: Path, *arguments: str) -> Iterator[Serving]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "wsnursery", "serve", "-k", worker, *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-b", f"127.0.0.1:{port}", "tools.hostile:app"],
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    try:
        assert wait_until(lambda: answers(port), 20)
        yield process, port
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("worker", ["trio", "asyncio"])
def test_a_disk_that_is_full(worker: str) -> None:
    """No log line can be written any more: the service continues, and ends at the signal."""
    full = Path("/dev/full")
    with served(worker, full, "--log-level", "debug", "--access-log", "/dev/full") as (
        process,
        port,
    ):
        assert all(answers(port) for _ in range(20))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize("worker", ["trio", "asyncio"])
def test_a_service_that_stood_still(worker: str, tmp_path: Path) -> None:
    """What came while it stood is served after that, a signal to stop too."""
    log = tmp_path / "log"
    with served(worker, log) as (process, port), ExitStack() as stack:
        process.send_signal(signal.SIGSTOP)
        clients = []
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            client.sendall(handshake("/"))
            clients.append(client)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 101"
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGCONT)
        for client in clients:
            client.close()
        assert process.wait(10) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
