"""Redis servers that the tests start themselves, each in a directory of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

REDIS = shutil.which("redis-server")

WHY_NOT = "no redis-server here: apt-get install --no-install-recommends redis-server"

needs_redis = pytest.mark.skipif(REDIS is None and not os.environ.get("CI"), reason=WHY_NOT)
"""Skips a module where there is no Redis. In CI there must be one."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RedisServer:
    """A server process on a unix socket and a loopback port, without persistence unless told."""

    def __init__(self, directory: Path, *options: str) -> None:
        assert REDIS is not None, WHY_NOT
        self.directory = directory
        self.socket = str(directory / "redis.sock")
        self.port = free_port()
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert REDIS is not None
        command = [REDIS, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", self.socket, "--dir", str(self.directory), "--save", ""]
        command += ["--databases", "4", "--logfile", str(self.directory / "log"), *self._options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while "PONG" not in self.cli("PING"):
            assert self.process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < until, "redis-server does not start"
            time.sleep(0.01)

    def cli(self, *command: str) -> str:
        """One command by hand; an empty text if there is no server."""
        replies = b""
        with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
            client.settimeout(2)
            client.connect(self.socket)
            parts = b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in map(str.encode, command))
            client.sendall(b"*%d\r\n%b" % (len(command), parts))
            replies = client.recv(1 << 20)
        return replies.decode()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """As a crash: SIGKILL."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None
            Path(self.socket).unlink(missing_ok=True)


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """A server that runs, and that is killed in the end."""
    # pytest's directories have names too long for the path of a unix socket.
    with tempfile.TemporaryDirectory(prefix="wsn") as directory:
        server = RedisServer(Path(directory), *options)
        try:
            server.start()
            yield server
        finally:
            server.kill()
