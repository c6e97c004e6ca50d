"""Load, disconnects of every kind and a rolling restart, on Hypercorn as we run it.

    python tools/soak.py                # 1,000 clients for a minute
    python tools/soak.py --short        # what CI does
    python tools/soak.py --connections 5000 --seconds 600 --worker asyncio

Clients send numbered messages. The server writes each to a journal, then acknowledges it. The
clients leave in many ways and come back; in the middle a second server takes over, on
the same listening socket, and the first one is stopped. At the end it fails if

- a message that was acknowledged is not in the journal,
- a client was cut off without a close frame,
- the first server did not stop with status 0 in time,
- the second one still has tasks or descriptors of clients that have left, or its memory has grown.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import json
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)

from wsnursery import WebSocket, websocket_app

JOURNAL = "SOAK_JOURNAL"
"""The environment variable with the path to which the server writes."""

SETTINGS = """\
websocket_ping_interval = {ping_interval}
drain_timeout = 15.0
drain_spread = 2.0
loglevel = "ERROR"
"""

PINGS = 200.0
"""How many pings the server sends in a second to all its clients. Hypercorn keeps what has ended
until its next ping, and that is waited for at the end."""

STOP_SECONDS = 15.0 + 2 * 3.0 + 5.0 + 3.0 + 5.0
"""The longest that a server may take to stop: ``drain_timeout + 2 * graceful_timeout +
shutdown_timeout + 3`` seconds, and 5 that a busy machine may be late by."""

MEMORY_MARGIN = 16 * 2**20
"""Bytes that a server may grow between the middle and the end: what an allocator keeps."""

ACK_SECONDS = 20.0
"""The longest that an acknowledgement may take: then the client counts as cut off."""


LINGER_SECONDS = 2.0
"""Seconds that a client waits for the server's end of a connection that it has left."""


# ------------------------------------------------------------------------------------- the server


@websocket_app
async def journal(ws: WebSocket) -> None:
    """Write every message down, then acknowledge it."""
    await ws.accept()
    file = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_APPEND)
    try:
        async for message in ws:
            assert isinstance(message, str)
            os.write(file, f"{message}\n".encode())  # one short write: lines stay whole
            await ws.send(f"ack {message}")
    finally:
        os.close(file)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The journal, and over HTTP what the process holds."""
    if scope["type"] != "http":
        await journal(scope, receive, send)
        return
    headers = [(b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(_held()).encode()})


def _held() -> dict[str, int]:
    gc.collect()  # what only garbage holds has not leaked
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    on_trio = trio.lowlevel.in_trio_run()
    return {
        "websockets": len(journal.connections),
        "tasks": trio.lowlevel.current_statistics().tasks_living
        if on_trio
        else len(asyncio.all_tasks()),
        "descriptors": len([*Path("/proc/self/fd").iterdir()]),
        "memory": pages * resource.getpagesize(),
    }


class Server:
    """A server process. In addition to the shared socket it has its own one, for questions."""

    def __init__(
        self, shared: socket.socket, worker: str, ping_interval: float, directory: Path
    ) -> None:
        self._own = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._own.getsockname()[1]
        config = directory / "hypercorn.toml"
        config.write_text(SETTINGS.format(ping_interval=ping_interval))
        command = ["-m", "wsnursery", "serve", "-k", worker, "-c", str(config)]
        descriptors = (shared.fileno(), self._own.fileno())
        for descriptor in descriptors:
            command += ["-b", f"fd://{descriptor}"]
        self.process = subprocess.Popen(
            [sys.executable, *command, "soak:app"],
            cwd=Path(__file__).parent,
            env={**os.environ, JOURNAL: str(directory / "journal")},
            pass_fds=descriptors,
        )

    async def started(self) -> None:
        """Wait until it answers."""
        while True:
            with suppress(OSError, http.client.HTTPException):
                self.held()
                return
            if self.process.poll() is not None:
                raise SystemExit("the server did not start")
            await trio.sleep(0.05)

    def held(self) -> dict[str, int]:
        """What it says that it has."""
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)) as asking:
            asking.request("GET", "/")
            held: dict[str, int] = json.loads(asking.getresponse().read())
            return held

    async def stop(self, within: float) -> float:
        """Send SIGTERM and wait for its end with status 0; say how long that took."""
        began = trio.current_time()
        self.process.send_signal(signal.SIGTERM)
        with trio.move_on_after(within):
            await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)
        if self.process.poll() != 0:
            raise SystemExit(f"the server did not stop within {within} s: {self.process.poll()}")
        return trio.current_time() - began

    def kill(self) -> None:
        """End it without asking."""
        self.process.kill()
        self.process.wait()
        self._own.close()


# ------------------------------------------------------------------------------------ the clients


@dataclass
class Tally:
    """What the clients have seen."""

    acknowledged: set[str] = field(default_factory=set[str])
    ends: Counter[str] = field(default_factory=Counter[str])
    open: int = 0


Leave = Callable[["Conversation"], Awaitable[None]]
"""A way to end a conversation."""


class CutOff(Exception):
    """The connection ended without a close frame."""


class Client:
    """Connects, converses and leaves, again and again."""

    def __init__(self, name: int, port: int, pause: float, tally: Tally) -> None:
        self._name = name
        self._port = port
        self._pause = pause
        self._tally = tally
        self._number = 0
        self._random = random.Random(name)  # noqa: S311 - it plays a client

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(self._random.uniform(0, 0.5))
            with suppress(OSError):
                stream = await trio.open_tcp_stream("127.0.0.1", self._port)
                async with stream:
                    await self._visit(Conversation(stream))

    async def _visit(self, conversation: Conversation) -> None:
        try:
            if not await conversation.open():
                self._tally.ends["turned away"] += 1
                return
        except CutOff:  # while it was knocking: it knocks again
            self._tally.ends["not let in"] += 1
            return
        self._tally.open += 1
        try:
            await self._converse(conversation)
            way = self._random.choice(list(LEAVING))
            self._tally.ends[way] += 1
            await LEAVING[way](conversation)
        except CutOff:
            self._tally.ends["CUT OFF"] += 1
        except ClosedByServer as end:
            self._tally.ends[f"closed by the server: {end}"] += 1
        finally:
            self._tally.open -= 1

    async def _converse(self, conversation: Conversation) -> None:
        for _ in range(self._random.randint(1, 40)):
            burst = self._random.choice([1, 1, 1, 5])
            sent: list[str] = []
            for _ in range(burst):
                self._number += 1
                sent.append(f"{self._name}:{self._number}")
            await conversation.send(*sent)
            for message in sent:
                acknowledged = await conversation.receive()
                if acknowledged != f"ack {message}":
                    raise SystemExit(f"{message!r} was answered with {acknowledged!r}")
                self._tally.acknowledged.add(message)
            await conversation.listen(self._random.expovariate(1 / self._pause))


class ClosedByServer(Exception):
    """The server has sent a close frame; the code."""


class Conversation:
    """One WebSocket of a client."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._messages: list[str] = []

    async def open(self) -> bool:
        """Do the handshake. Return whether it was accepted."""
        await self.raw(self._protocol.send(Request(host="localhost", target="/")))
        while True:
            if not await self._read(ACK_SECONDS):
                raise CutOff
            for event in self._protocol.events():
                if isinstance(event, AcceptConnection | RejectConnection):
                    return isinstance(event, AcceptConnection)

    async def send(self, *messages: str) -> None:
        """Send all of them in one packet."""
        frames = [self._protocol.send(TextMessage(message)) for message in messages]
        await self.raw(b"".join(frames))

    async def receive(self) -> str:
        """The next message."""
        while not self._messages:
            if not await self._receive(ACK_SECONDS):
                raise CutOff
        return self._messages.pop(0)

    async def listen(self, seconds: float) -> None:
        """Wait, and notice a close meanwhile."""
        until = trio.current_time() + seconds
        while (left := until - trio.current_time()) > 0:
            await self._receive(left)

    async def close(self) -> None:
        """Close, and wait until the server has."""
        await self.raw(self._protocol.send(CloseConnection(code=1000)))
        await self.hear_out()

    async def hear_out(self) -> None:
        """Wait for the end, whatever comes before it."""
        with trio.move_on_after(LINGER_SECONDS), suppress(trio.BrokenResourceError):
            async for _ in self.stream:
                pass

    async def raw(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        # A server that has closed may have given the reason, which the next read finds.
        with suppress(trio.BrokenResourceError):
            await self.stream.send_all(data)

    async def _receive(self, seconds: float) -> bool:
        """Receive for some seconds. Return whether anything came."""
        if not await self._read(seconds):
            return False
        for event in self._protocol.events():
            if isinstance(event, TextMessage):
                self._messages.append(event.data)
            elif isinstance(event, Ping):
                await self.raw(self._protocol.send(event.response()))
            elif isinstance(event, CloseConnection):
                await self.raw(self._protocol.send(event.response()))
                raise ClosedByServer(event.code)
        return True

    async def _read(self, seconds: float) -> bool:
        data = b""
        with trio.move_on_after(seconds) as limit, suppress(trio.BrokenResourceError):
            data = await self.stream.receive_some()
        if limit.cancelled_caught:
            return False
        if not data:
            raise CutOff
        self._protocol.receive_data(data)
        return True


async def fin(conversation: Conversation) -> None:
    """Close the socket."""


async def rst(conversation: Conversation) -> None:
    """Reset."""
    conversation.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def half_close(conversation: Conversation) -> None:
    """Say that nothing follows, and wait."""
    await conversation.stream.send_eof()
    await conversation.hear_out()


async def torn_frame(conversation: Conversation) -> None:
    """Leave in the middle of a frame."""
    await conversation.raw(b"\x81\xfe\x10\x00\x00\x00\x00\x00half of it")


async def garbage(conversation: Conversation) -> None:
    """Send bytes that are not a frame."""
    await conversation.raw(b"\xff\x00GET / HTTP/1.1\r\n\r\n")


async def burst_and_rst(conversation: Conversation) -> None:
    """Send a lot and reset."""
    await conversation.send(*[f"unread:{number}" for number in range(50)])
    await rst(conversation)


LEAVING: dict[str, Leave] = {
    "close": Conversation.close,
    "fin": fin,
    "rst": rst,
    "half-close": half_close,
    "torn frame": torn_frame,
    "garbage": garbage,
    "burst and rst": burst_and_rst,
}


# ---------------------------------------------------------------------------------------- the run


async def soak(options: argparse.Namespace, directory: Path) -> list[str]:
    """Run it; give what is wrong."""
    (directory / "journal").touch()
    shared = socket.create_server(("127.0.0.1", 0), backlog=2048)
    tally = Tally()
    ping_interval = max(1.0, options.connections / PINGS)
    start_server = partial(Server, shared, options.worker, ping_interval, directory)
    servers = [start_server()]
    port = shared.getsockname()[1]
    pause = options.connections / options.rate
    try:
        await servers[0].started()
        empty = servers[0].held()
        async with trio.open_nursery() as clients:
            for name in range(options.connections):
                clients.start_soon(Client(name, port, pause, tally).run)
            await watch(options, tally, 0.0, 0.5)
            servers.append(start_server())
            await servers[1].started()
            stopped_in = await servers[0].stop(STOP_SECONDS)
            await watch(options, tally, 0.5, 0.2)
            middle = servers[1].held()
            await watch(options, tally, 0.7, 0.3)
            end = servers[1].held()
            clients.cancel_scope.cancel()
        left = await settled(servers[1], empty, ping_interval + 10)
        last = servers[1].held()
        await servers[1].stop(STOP_SECONDS)
    finally:
        sys.stderr.write("\n")
        for server in servers:
            server.kill()
        shared.close()
    print(f"The first server stopped in {stopped_in:.1f} s.")
    report(tally, {"empty": empty, "middle": middle, "end": end, "without clients": last})
    return list(problems(tally, directory, middle, end, left))


async def watch(options: argparse.Namespace, tally: Tally, done: float, share: float) -> None:
    """Let a share of the time pass, and show how much is done."""
    seconds = options.seconds * share
    began = trio.current_time()
    while (passed := trio.current_time() - began) < seconds:
        show(done + share * passed / seconds, tally)
        await trio.sleep(0.1)


def show(share: float, tally: Tally) -> None:
    """The progress bar."""
    bar = "#" * round(30 * share)
    sys.stderr.write(
        f"\r[{bar:<30}] {share:4.0%}  {tally.open} open, "
        f"{len(tally.acknowledged)} acknowledged, {tally.ends.total()} ended "
    )
    sys.stderr.flush()


async def settled(server: Server, empty: dict[str, int], patience: float) -> dict[str, int]:
    """What the server still holds of clients that have left, once it has stopped freeing things.

    A busy server has connections to accept whose clients have already left.
    """
    last, since = dict[str, int](), trio.current_time()
    while True:
        held = server.held()
        left = {name: held[name] - empty[name] for name in ("websockets", "tasks", "descriptors")}
        if left != last:
            last, since = left, trio.current_time()
        if not any(count > 0 for count in left.values()) or trio.current_time() > since + patience:
            return left
        await trio.sleep(0.1)


def problems(
    tally: Tally,
    directory: Path,
    middle: dict[str, int],
    end: dict[str, int],
    left: dict[str, int],
) -> list[str]:
    """What must not be."""
    found: list[str] = []
    lost = tally.acknowledged - set((directory / "journal").read_text().splitlines())
    if lost:
        found.append(f"{len(lost)} acknowledged messages are lost, such as {min(lost)}")
    if tally.ends["CUT OFF"]:
        found.append(f"{tally.ends['CUT OFF']} clients were cut off without a close frame")
    if not tally.ends["closed by the server: 1012"]:
        found.append("no client was connected at the restart")
    found += [f"{count} {name} are left" for name, count in left.items() if count > 0]
    growth = end["memory"] - middle["memory"]
    if growth > MEMORY_MARGIN:
        found.append(f"the memory has grown by {growth // 2**20} MiB")
    return found


def report(tally: Tally, held: dict[str, dict[str, int]]) -> None:
    """Say what happened."""
    for moment, counts in held.items():
        found = counts | {"MiB": counts["memory"] // 2**20}
        del found["memory"]
        print(f"{moment}: {', '.join(f'{count} {name}' for name, count in found.items())}")
    print(f"{len(tally.acknowledged)} messages acknowledged")
    for way, count in sorted(tally.ends.items()):
        print(f"{count:8} {way}")


def main() -> int:
    """Run it and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=1000, help="messages per second, of all")
    parser.add_argument("--worker", default="trio", choices=["trio", "asyncio", "uvloop"])
    parser.add_argument("--short", action="store_true", help="150 connections for 6 seconds")
    options = parser.parse_args()
    if options.short:
        options.connections, options.seconds, options.rate = 150, 6, 300
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        found = trio.run(partial(soak, options, Path(directory)))
    print(f"{time.monotonic() - began:.0f} s")
    for problem in found:
        print(f"FAILED: {problem}")
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main())
