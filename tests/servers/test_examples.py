"""The examples, started as their docstrings and the README say."""

import itertools
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.servers._harness import ROOT, Server, running


@contextmanager
def example(name: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """`python -m examples.NAME` on a free port: the process and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", f"examples.{name}", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            steps = "".join(itertools.takewhile(lambda line: "Ctrl-C" not in line, process.stdout))
            address = re.search(rf"^Serving {name} on http://(\S+/)\. ", steps)
            assert address, steps
            assert f"-m websockets ws://{address[1]}\n" in steps
            yield process, f"ws://{address[1]}"
        finally:
            process.kill()


@pytest.mark.parametrize("name", ["echo", "ticker"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stops_without_a_traceback(name: str, how: signal.Signals) -> None:
    with example(name) as (process, url), connect(url) as client:
        client.send("0.02")
        assert client.recv(timeout=5)
        process.send_signal(how)
        with pytest.raises(ConnectionClosed):
            for _ in itertools.count():
                client.recv(timeout=5)
        assert client.close_code == 1012
        assert process.stderr is not None
        errors = process.stderr.read()
        assert process.wait(timeout=10) == 0, errors
        assert "Traceback" not in errors


def test_a_taken_port_is_named() -> None:
    with example("echo") as (_, url):
        port = url.rstrip("/").rpartition(":")[2]
        second = subprocess.run(
            [sys.executable, "-m", "examples.echo", port],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            timeout=20,
            check=False,
        )
    assert second.returncode == 1
    assert second.stderr.startswith(f"Cannot listen on 127.0.0.1:{port} ")
    assert "Traceback" not in second.stderr


def test_echo(row: Server) -> None:
    with running(row, app="examples.echo:app") as server:
        assert server.get("/").startswith(b"<!doctype html>")
        with connect(f"ws://127.0.0.1:{server.port}/") as client:
            for message in ("hello", b"\x00\xff", "", b"", "x" * 100_000):
                client.send(message)
                assert client.recv(timeout=5) == message


def test_ticker(row: Server) -> None:
    with (
        running(row, app="examples.ticker:app") as server,
        connect(f"ws://127.0.0.1:{server.port}/") as client,
    ):
        assert client.recv(timeout=5) == "tick 1"
        client.send("0.01")
        client.send("soon")
        received = {client.recv(timeout=5) for _ in range(10)}
        assert "tick 2" in received
        assert "send the seconds between two ticks, for example 0.5" in received
