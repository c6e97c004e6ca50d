"""What the reproductions share: a server process, a client on a raw socket, and the verdict.

They need the server, anyio (so that one application runs on trio and on asyncio) and nothing else.
A reproduction has an ASGI application `app`, which reports what it sees on standard output, and a
function that plays the client and returns what was wrong, or `None` when nothing was.
"""

import json
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Event, Receive, Send], Awaitable[None]]

TEXT, BINARY, CLOSE = 1, 2, 8

HYPERCORN_TRIO = "hypercorn -k trio"
HYPERCORN_ASYNCIO = "hypercorn -k asyncio"
ANYCORN_TRIO = "anycorn -k trio"
ANYCORN_ASYNCIO = "anycorn -k asyncio"
UVICORN = "uvicorn --ws websockets-sansio"
UVICORN_WSPROTO = "uvicorn --ws wsproto"
UVICORN_LEGACY = "uvicorn --ws websockets"
GRANIAN = "granian --interface asgi"


def report(*facts: object) -> None:
    """Report something to the client, in another process."""
    print("REPORT", json.dumps(facts), flush=True)


def websocket(app: App) -> App:
    """Serve the lifespan, so that an application contains only the WebSocket part."""

    async def served(scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})

    return served


class NotReported(TimeoutError):
    """The application did not report in time."""


class Server:
    """A running server."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.port = port
        self.log: list[str] = []
        self._reports: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            if line.startswith("REPORT "):
                self._reports.put(json.loads(line[7:]))
            else:
                self.log.append(line)

    def reported(self, seconds: float = 5) -> list[Any]:
        """Return the next report of the application.

        Raises:
            NotReported: There was none within so many seconds.
        """
        try:
            return self._reports.get(timeout=seconds)
        except queue.Empty:
            raise NotReported("".join(self.log[-5:])) from None

    def client(
        self, *headers: str, receive_buffer: int | None = None, early: bytes = b""
    ) -> "Client":
        """A client whose handshake has been sent."""
        return Client(self.port, headers, receive_buffer, early)

    def serves(self) -> bool:
        """Return whether the process is alive and listens."""
        with socket.socket() as probe:
            return self.process.poll() is None and probe.connect_ex(("127.0.0.1", self.port)) == 0

    def terminate(self) -> None:
        """Tell it to stop."""
        self.process.send_signal(signal.SIGTERM)


class Client:
    """One WebSocket connection, without any manners of its own."""

    def __init__(
        self, port: int, headers: tuple[str, ...], receive_buffer: int | None, early: bytes
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(5)
        self.socket.connect(("127.0.0.1", port))
        lines = (
            "GET / HTTP/1.1",
            "Host: localhost",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *headers,
        )
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + early)
        self._unread = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def status(self) -> int:
        """The status of the answer to the handshake."""
        while b"\r\n\r\n" not in self._unread:
            self._more()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        return int(head.split()[1])

    def send(self, opcode: int, payload: bytes, count: int = 1) -> None:
        """Send a frame so many times, in one packet."""
        self.socket.sendall(frame(opcode, payload) * count)

    def read(self) -> tuple[int, bytes]:
        """The next frame: opcode with the reserved bits, and payload."""
        opcode = self._take(1)[0] & 0x7F
        length = self._take(1)[0]
        if length == 126:
            (length,) = struct.unpack("!H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._take(8))
        return opcode, self._take(length)

    def end(self) -> str:
        """How the connection ends: "close CODE", "FIN", "RST" or "open"."""
        try:
            while True:
                opcode, payload = self.read()
                if opcode == CLOSE:
                    return f"close {int.from_bytes(payload[:2], 'big')}"
        except EOFError:
            return "FIN"
        except ConnectionError:
            return "RST"
        except TimeoutError:
            return "open"

    def reset(self) -> None:
        """End it with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._more()
        taken = bytes(self._unread[:count])
        del self._unread[:count]
        return taken

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self._unread += data


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole masked frame; its mask is zero."""
    size = len(payload)
    if size < 126:
        return bytes([0x80 | opcode, 0x80 | size]) + bytes(4) + payload
    return bytes([0x80 | opcode, 0xFE]) + struct.pack("!H", size) + bytes(4) + payload


def close_frame(code: int) -> bytes:
    """A close frame."""
    return frame(CLOSE, struct.pack("!H", code))


@contextmanager
def running(command: str, module: str, options: str) -> Generator[Server]:
    """Start a server with the application of a module of this directory."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments(command, module, port), *options.split()],
        cwd=Path(__file__).parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    server = Server(process, port)
    try:
        deadline = time.monotonic() + 15
        while not server.serves():
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotReported("".join(server.log[-5:]))
            time.sleep(0.05)
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def arguments(command: str, module: str, port: int) -> Iterator[str]:
    """The words behind the interpreter."""
    name, *options = command.split()
    yield from (name, *options, f"{module}:app")
    if name in ("hypercorn", "anycorn"):
        yield from ("-b", f"127.0.0.1:{port}")
    else:
        yield from ("--host", "127.0.0.1", "--port", str(port))


def run(
    file: str,
    reproduce: Callable[[Server], str | None],
    *servers: str,
    options: str = "",
    logs_errors: bool = False,
) -> int:
    """Try it on the servers, with `--first` on the command line on one; print a line for each.

    Args:
        file: The reproduction's `__file__`.
        reproduce: Plays the client; returns what was wrong, or `None`.
        *servers: Command lines without application and address.
        options: More options for all of them.
        logs_errors: Whether a traceback in the server's log belongs to it.

    Returns:
        The exit status: 0 if it is still there everywhere, 1 if it is fixed somewhere.

    Raises:
        RuntimeError: The application failed, so nothing can be said.
    """
    status = 0
    for command in servers[:1] if "--first" in sys.argv else servers:
        try:
            name = f"{command.replace(' ', f' {version(command.split()[0])} ', 1)}"
        except PackageNotFoundError:
            print(f"{command}: not installed")
            continue
        with running(command, Path(file).stem, options) as server:
            wrong = reproduce(server)
            log = "".join(server.log)
        if "Traceback" in log and not logs_errors:
            raise RuntimeError(log)
        print(f"{name}: {'fixed' if wrong is None else f'still there: {wrong}'}", flush=True)
        status |= wrong is None
    return status
