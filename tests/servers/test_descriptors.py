"""`python -m wsnursery serve` when no descriptor is left: it goes on, quietly, and recovers."""

import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers._harness import wait_until
from tests.servers._rows import ROOT

SECONDS = 3.0
"""How long it is left without a descriptor."""


def seconds_of_processor(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 0.5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.recv(20).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


@pytest.mark.parametrize("limit", [64, 256])
@pytest.mark.parametrize("worker", ["trio", "asyncio"])
def test_no_descriptor_is_left(worker: str, limit: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve = f"{sys.executable} -m wsnursery serve -k {worker} -b 127.0.0.1:{port} tools.hostile:app"
    with log.open("wb") as output, ExitStack() as stack:
        process = subprocess.Popen(
            ["bash", "-c", f"ulimit -n {limit}; exec {serve}"],
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        assert wait_until(lambda: answers(port), 20), log.read_text()
        clients = []
        for _ in range(3 * limit):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            clients.append(client)
        assert wait_until(lambda: "cannot accept connections" in log.read_text(), 10)
        before, size = seconds_of_processor(process.pid), log.stat().st_size
        time.sleep(SECONDS)
        assert seconds_of_processor(process.pid) - before < 0.1 * SECONDS
        assert log.stat().st_size - size < 1000
        for client in clients:
            client.close()
        # asyncio tries again after a second.
        assert wait_until(lambda: answers(port), 10), log.read_text()
        assert "Traceback" not in log.read_text()
