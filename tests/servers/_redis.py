"""Redis servers that the tests start themselves, each in a directory of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import anyio
import anyio.abc
import pytest
from anyio.abc import SocketStream

PROGRAM = os.environ.get("WSNURSERY_REDIS", "redis-server")
"""What is tested: ``WSNURSERY_REDIS=valkey-server`` runs the same tests with Valkey."""

REDIS = shutil.which(PROGRAM)

WHY_NOT = f"no {PROGRAM} here: apt-get install --no-install-recommends {PROGRAM}"

needs_redis = pytest.mark.skipif(REDIS is None and not os.environ.get("CI"), reason=WHY_NOT)
"""Skips a module where there is no Redis. In CI there must be one."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RedisServer:
    """A server process on a unix socket and a loopback port, without persistence by default."""

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
        """For what breaks connections: on asyncio, anyio's unix sockets complain of some of that.

        A cancellation that meets a readable socket in one turn is an `InvalidStateError` there, in
        the loop's exception handler.
        """
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert REDIS is not None
        command = [REDIS, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", self.socket, "--dir", str(self.directory), "--save", ""]
        command += ["--databases", "4", "--logfile", str(self.directory / "log"), *self._options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 10
        # (It may want a password first.)
        while not self.cli("PING").startswith(("+PONG", "-NOAUTH")):
            assert self.process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < until, f"{PROGRAM} does not start"
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


class Proxy:
    """A TCP proxy in front of a server, which does to the connections what a test wants."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self.delay = 0.0
        """Seconds before each piece goes on."""
        self._pairs: set[tuple[SocketStream, SocketStream]] = set()
        self._cut_after: int | None = None
        self._refuses = False
        self._delivers = anyio.Event()
        self._delivers.set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        self.port = int(listener.extra(anyio.abc.SocketAttribute.local_port))
        await self._stack.enter_async_context(listener)
        self._group = await self._stack.enter_async_context(anyio.create_task_group())
        self._group.start_soon(listener.serve, self._serve)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._group.cancel_scope.cancel()
        await self._stack.aclose()

    def refuse(self) -> None:
        """End all connections, and every new one at once."""
        self.refuse_new()
        self._close_all()

    def refuse_new(self) -> None:
        """End every new connection at once."""
        self._refuses = True

    def accept(self) -> None:
        self._refuses = False

    def cut_after(self, size: int) -> None:
        """End the connections once so many more bytes have come from the server."""
        self._cut_after = size

    def swallow(self) -> None:
        """Deliver nothing any more, and say nothing."""
        self._delivers = anyio.Event()

    def deliver(self) -> None:
        """New connections work again; what was swallowed is gone with the old ones."""
        self._close_all()
        self._delivers.set()

    def _close_all(self) -> None:
        pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for stream in pair:
                self._group.start_soon(anyio.aclose_forcefully, stream)

    async def _serve(self, client: SocketStream) -> None:
        async with client:
            if self._refuses:
                return
            with suppress(OSError):
                async with await anyio.connect_tcp("127.0.0.1", self._server_port) as server:
                    self._pairs.add((client, server))
                    async with anyio.create_task_group() as group:
                        group.start_soon(self._carry, client, server, group.cancel_scope, False)
                        group.start_soon(self._carry, server, client, group.cancel_scope, True)
                    self._pairs.discard((client, server))

    async def _carry(
        self, source: SocketStream, target: SocketStream, both: anyio.CancelScope, back: bool
    ) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                data = await source.receive()
                await self._delivers.wait()
                await anyio.sleep(self.delay)
                if back and self._cut_after is not None:
                    data, rest = data[: self._cut_after], data[self._cut_after :]
                    self._cut_after -= len(data)
                    if rest:
                        self._cut_after = None
                        await target.send(data)
                        break
                await target.send(data)
        both.cancel()
