"""Send a server what no honest client sends, and count how often it dies.

    python tools/hostile.py -- -k trio
    python tools/hostile.py --random 20000 --seed 7 -- -k asyncio

It starts ``python -m wsnursery serve`` with the arguments after ``--`` and an echo application. The
packets of `PACKETS` go one after another, each on a connection of its own. Random ones are
handshakes with some bytes replaced, inserted, removed or repeated. After each packet, or each batch
of random ones, the server must answer a plain HTTP request; the process that answers must be the
one that was started. The status is the number of deaths, at most 100.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
APP = "tools.hostile:app"
BATCH = 25
"""Random packets between two looks at the server. They are sent on as many connections at once."""

FIELDS = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "MDAwMDAwMDAwMDAwMDAwMA==",
    "Sec-WebSocket-Version": "13",
}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"
PLAIN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope: dict[str, object], receive: object, send: object) -> None:
    """Echo; answer plain HTTP with the process id."""
    from wsnursery import WebSocket, websocket_app

    @websocket_app
    async def echo(ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send(message)

    if scope["type"] == "http":
        start: dict[str, object] = {"type": "http.response.start", "status": 200}
        await send(start)  # type: ignore[operator]
        body = f"process {os.getpid()}\n".encode()
        await send({"type": "http.response.body", "body": body})  # type: ignore[operator]
    else:
        await echo(scope, receive, send)  # type: ignore[arg-type]


def handshake(
    *more: tuple[str, str], target: str = "/", method: str = "GET", **changed: str
) -> bytes:
    """A handshake with more fields, and others changed (``sec_websocket_key="x"``)."""
    new = {name.replace("_", "-").lower(): value for name, value in changed.items()}
    fields = [(name, new.get(name.lower(), value)) for name, value in FIELDS.items()]
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    lines += [f"{name}: {value}" for name, value in more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def offer(value: str) -> bytes:
    """A handshake that offers extensions."""
    return handshake(("Sec-WebSocket-Extensions", value))


def h2c(settings: str) -> bytes:
    """An upgrade to HTTP/2 (RFC 7540, 3.2)."""
    head = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    return f"{head}HTTP2-Settings: {settings}\r\n\r\n".encode("latin-1")


def h2_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


def h2(*frames: bytes) -> bytes:
    """A connection of HTTP/2 that sends these frames."""
    return PREFACE + SETTINGS + b"".join(frames)


def h2_request(fields: bytes, flags: int = 5) -> bytes:
    """A request of HTTP/2 whose header block is given."""
    return h2(h2_frame(1, flags, 1, fields + b"\x86\x41\x01x"))


CONNECT = (
    b"\x02\x07CONNECT\x84\x86\x41\x01x\x00\x09:protocol\x09websocket"
    b"\x00\x15sec-websocket-version\x0213\x00\x18sec-websocket-extensions\x01\xff"
)


def frame(first: int, payload: bytes, *, masked: bool = True, length: int | None = None) -> bytes:
    """A WebSocket frame with a mask of zeros, or without a mask."""
    size = len(payload) if length is None else length
    return bytes([first, (0x80 if masked else 0) | size]) + bytes(4 * masked) + payload


def packets() -> Iterator[tuple[str, bytes, bytes]]:
    """Name, the first packet, and what is sent after the answer to it."""
    bad = "\xff"
    once: dict[str, bytes] = {
        "an honest handshake": handshake(),
        "extensions: not ASCII": offer(bad),
        "extensions: a parameter that is not ASCII": offer(f"permessage-deflate; {bad}"),
        "protocol: not ASCII": handshake(("Sec-WebSocket-Protocol", bad)),
        "version: not ASCII": handshake(sec_websocket_version=bad),
        "key: not ASCII": handshake(sec_websocket_key=bad),
        "host: not ASCII": handshake(host=bad),
        "connection: not ASCII": handshake(connection=f"Upgrade, {bad}"),
        "connection twice": handshake(("Connection", bad)),
        "upgrade: not ASCII": handshake(upgrade=f"websocket, {bad}"),
        "upgrade twice": handshake(("Upgrade", bad)),
        "origin: not ASCII": handshake(("Origin", bad)),
        "cookie: not ASCII": handshake(("Cookie", bad)),
        "expect: not ASCII": handshake(("Expect", bad)),
        "expect: 100-continue": handshake(("Expect", "100-continue")),
        "h2c, settings that are not base64": h2c(f"!!!{bad}"),
        "h2c": h2c("AAMAAABkAAQAAP__"),
        "h2c, settings that are cut": h2c("AAM"),
        "h2, then nonsense": PREFACE + b"\xff" * 200,
        "h2, headers that are nonsense": h2(h2_frame(1, 5, 1, b"\xff" * 5)),
        "h2, a window update of 0": h2(h2_frame(8, 0, 0, bytes(4))),
        "h2, reset of an unknown stream": h2(h2_frame(3, 0, 5, bytes(4))),
        "h2, goaway": h2(h2_frame(7, 0, 0, bytes(8))),
        "h2, data of an unknown stream": h2(h2_frame(0, 0, 1, b"x")),
        "h2, a priority that is cut": h2(h2_frame(2, 0, 1, b"x")),
        "h2, method that is not ASCII": h2_request(b"\x02\x01\xff\x84"),
        "h2, no path": h2_request(b"\x82"),
        "h2, no method": h2_request(b"\x84"),
        "h2, path that is not ASCII": h2_request(b"\x82\x04\x02/\xff"),
        "h2, extensions that are not ASCII": h2(h2_frame(1, 4, 1, CONNECT)),
        "post": handshake(method="POST"),
        "connect": handshake(method="CONNECT", target="x:1"),
        "an unknown method": handshake(method="G!T"),
        "two hosts": handshake(("Host", "y")),
        "a huge field": handshake(("X", "a" * 70_000)),
        "3000 fields": handshake(*[("X", "y")] * 3000),
        "a body with a length": handshake(("Content-Length", "5")) + b"hello",
        "a chunked body": handshake(("Transfer-Encoding", "chunked")) + b"5\r\nhello\r\n0\r\n\r\n",
        "a chunk without a size": handshake(("Transfer-Encoding", "chunked")) + b"zz\r\n",
        "a frame in the same packet": handshake() + frame(0x81, b""),
        "a close in the same packet": handshake() + frame(0x88, b""),
        "nonsense in the same packet": handshake() + b"\xff" * 50,
        "two handshakes": handshake() * 2,
        "http, then a handshake": PLAIN + handshake(),
        "http three times": PLAIN * 3,
        "version 12": handshake(sec_websocket_version="12"),
        "a short key": handshake(sec_websocket_key="x"),
        "no fields": b"GET / HTTP/1.1\r\n\r\n",
        "nothing but an end of line": b"\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    }
    once |= {
        f"target {it!r}": handshake(target=it) for it in ("/%ff", "*", "x", "?", "//", "a://b")
    }
    deflate = ("server_max_window_bits", "client_max_window_bits")
    values = ("=7", "=16", "=8", "=x", "=-1", "=", "")
    for name in deflate:
        once |= {f"{name}{it}": offer(f"permessage-deflate; {name}{it}") for it in values}
    once |= {f"offer {it!r}": offer(it) for it in ("permessage-deflate; =", "permessage-deflate;")}
    for name, packet in once.items():
        yield name, packet, b""
    later: dict[str, bytes] = {
        "a ping of 126 bytes": frame(0x89, b"x" * 100, length=126),
        "reserved bits": frame(0xF1, b""),
        "opcode 3": frame(0x83, b"x"),
        "a close of one byte": frame(0x88, b"x"),
        "close 0": frame(0x88, b"\0\0"),
        "close 65535": frame(0x88, b"\xff\xff"),
        "close 2999": frame(0x88, b"\x0b\xb7"),
        "a close whose reason is not UTF-8": frame(0x88, b"\x03\xe8\xff"),
        "no mask": frame(0x81, b"x", masked=False),
        "text that is not UTF-8": frame(0x81, b"\xff"),
        "a continuation of nothing": frame(0x80, b"x"),
        "a ping in fragments": frame(0x09, b"x"),
        "a length of 2 to the 63": b"\x82\xff" + b"\xff" * 8 + bytes(4),
        "two closes": frame(0x88, b"\x03\xe8") * 2,
        "text after the close": frame(0x88, b"\x03\xe8") + frame(0x81, b"x"),
        "text in a fragmented text": frame(0x01, b"x") + frame(0x81, b"x"),
    }
    for name, data in later.items():
        yield f"later: {name}", handshake(), data
    yield "later: deflated nonsense", offer("permessage-deflate"), frame(0xC1, b"\xff" * 4)


PACKETS = list(packets())


def mutated(chance: random.Random) -> bytes:
    """A handshake, or a packet of `PACKETS`, with some bytes changed."""
    data = bytearray(chance.choice(PACKETS)[1] if chance.random() < 0.5 else handshake())
    for _ in range(chance.randint(1, 6)):
        where, kind = chance.randrange(len(data) + 1), chance.randrange(5)
        some = bytes(
            chance.choice((0, 10, 13, 32, 44, 58, 59, 61, 127, 128, 255)) for _ in range(2)
        )
        if kind == 0:
            data[where : where + 1] = some[:1]
        elif kind == 1:
            data[where:where] = some
        elif kind == 2:
            del data[where : where + chance.randint(1, 20)]
        elif kind == 3:
            data[where:where] = data[where : where + chance.randint(1, 40)]
        else:
            data[where : where + 1] = chance.randbytes(1)
    return bytes(data)


class Server:
    """A server process, started again when it has died."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._log = tempfile.NamedTemporaryFile(suffix=".log")  # noqa: SIM115 - closed with it
        self._process: subprocess.Popen[bytes] | None = None
        self._served_by = ""
        self.port = 0
        self.deaths = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = ["-m", "wsnursery", "serve", *self._arguments, "-b", f"127.0.0.1:{self.port}"]
        self._process = subprocess.Popen(
            [sys.executable, *command, APP],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        deadline = time.monotonic() + 30
        while not (answer := self._answer()):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"the server does not start:\n{self.log()}")
            time.sleep(0.05)
        self._served_by = answer

    def kill(self) -> None:
        """End it."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def log(self) -> str:
        """What it has written."""
        return Path(self._log.name).read_text("utf-8", "replace")

    def _answer(self) -> str:
        """The process that answers; nothing if there is no answer."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b""
            while data := client.recv(4096):
                answer += data
            found = re.search(rb"process \d+", answer)
            return "" if found is None else found.group().decode()
        return ""

    def survived(self) -> bool:
        """Whether it still serves. If it does not, count it and start another one."""
        if self._answer() == self._served_by:
            return True
        self.deaths += 1
        self.kill()
        self.start()
        return False


def play(port: int, first: bytes, then: bytes, patience: float) -> None:
    """Send the packets on a connection of their own, and leave."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as client:
        client.settimeout(patience)
        client.sendall(first)
        client.recv(4096)
        if then:
            client.sendall(then)
            client.recv(4096)


def play_at_once(port: int, batch: list[bytes]) -> None:
    """Send each on a connection of its own, read a little, and leave all together."""
    with ExitStack() as stack:
        clients: list[socket.socket] = []
        for packet in batch:
            with suppress(OSError):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
                client.settimeout(0.05)
                clients.append(client)
                client.sendall(packet)
        for client in clients[-2:]:
            with suppress(OSError):
                client.recv(4096)


def main() -> int:
    """Attack; return the number of deaths."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--random", type=int, default=0, metavar="N", help="N random packets")
    parser.add_argument("--seed", type=int, default=0, help="of the random packets")
    parser.add_argument("arguments", nargs="*", help="arguments of `python -m wsnursery serve`")
    chosen = parser.parse_args()
    with Server(chosen.arguments) as server:
        for name, first, then in [] if chosen.random else PACKETS:
            play(server.port, first, then, 0.2)
            if not server.survived():
                print(f"killed by: {name}", flush=True)
        chance = random.Random(chosen.seed)  # noqa: S311 - nothing is secret here
        for start in range(0, chosen.random, BATCH):
            batch = [mutated(chance) for _ in range(min(BATCH, chosen.random - start))]
            play_at_once(server.port, batch)
            if not server.survived():
                print(f"killed by one of {batch}", flush=True)
        count = chosen.random or len(PACKETS)
        log = server.log()
        print(
            f"{count} packets, {server.deaths} deaths, {len(log)} bytes of log, "
            f"{log.count('Traceback')} tracebacks"
        )
        return min(server.deaths, 100)


if __name__ == "__main__":
    sys.exit(main())
