"""A WebSocket client that can misbehave: raw sockets, frames made by hand."""

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from wsnursery._doctor._client import frame as frame
from wsnursery._doctor._client import handshake as handshake

SO_ATTACH_FILTER = 26
BPF_RETURN = 0x06
"""linux/filter.h: the instruction that ends a filter with the number of bytes to keep."""

CONTINUATION, TEXT, BINARY, CLOSE, PING = 0, 1, 2, 8, 9


def _unfinished(opcode: int, payload: bytes) -> bytes:
    """A frame without the FIN bit: the message goes on."""
    whole = frame(opcode, payload)
    return bytes([whole[0] & 0x7F]) + whole[1:]


def _message(message: str | bytes) -> bytes:
    return frame(BINARY, message) if isinstance(message, bytes) else frame(TEXT, message.encode())


class ServerGone(Exception):
    """The connection ended where an answer was due."""


class RawClient:
    """One connection, under full control.

    Args:
        port: the server's port on the loopback interface.
        receive_buffer: bytes that the kernel may hold for us; small makes a blocked sender.
        timeout: seconds for every single operation.
    """

    def __init__(self, port: int, *, receive_buffer: int | None = None, timeout: float = 5) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.headers: dict[str, str] = {}
        """Of the answer to the handshake, the names in lower case."""
        self._unread = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def open(self, path: str, *headers: str, early: bytes = b"") -> int:
        """Do the opening handshake, with `early` in the same packet; give the HTTP status."""
        self.ask(path, *headers, early=early)
        head = self.read_to(b"\r\n\r\n").decode("latin-1")
        status, *lines = head.split("\r\n")
        fields = [line.partition(":") for line in lines]
        self.headers = {name.lower(): value.strip() for name, _, value in fields}
        return int(status.split()[1])

    def ask(self, path: str, *headers: str, early: bytes = b"") -> None:
        """Send the handshake without waiting for the answer."""
        self.write(handshake(path, *headers) + early)

    def write(self, data: bytes) -> None:
        """Send these bytes, whatever they are."""
        self.socket.sendall(data)

    def read_to(self, mark: bytes) -> bytes:
        """Everything up to the mark, which is read too."""
        while mark not in self._unread:
            self._read_more()
        before, _, self._unread = self._unread.partition(mark)
        return bytes(before)

    def send(self, *messages: str | bytes) -> None:
        """Send messages, all in one packet."""
        self.write(b"".join(_message(message) for message in messages))

    def send_in_parts(self, *parts: bytes) -> None:
        """Send one binary message in several frames."""
        first, *middle, last = parts
        self.write(_unfinished(BINARY, first))
        for part in middle:
            self.write(_unfinished(CONTINUATION, part))
        self.write(frame(CONTINUATION, last))

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and nothing after it."""
        self.write(frame(CLOSE, struct.pack("!H", code) + reason.encode()))

    def read_message(self) -> tuple[int, bytes]:
        """The next message, whole: opcode and payload. A close frame counts as one."""
        final, kind, whole = self._read_frame()
        while not final:
            final, _, part = self._read_frame()
            whole += part
        return kind, whole

    def read(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload."""
        _, opcode, payload = self._read_frame()
        return opcode, payload

    def _read_frame(self) -> tuple[bool, int, bytes]:
        first = self._take(1)[0]
        length = self._take(1)[0]
        if length == 126:
            (length,) = struct.unpack("!H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._take(8))
        return bool(first & 0x80), first & 0x0F, self._take(length)

    def read_close(self) -> tuple[int, str]:
        """Skip to the close frame: code and reason."""
        while True:
            opcode, payload = self.read()
            if opcode == CLOSE and not payload:
                return 1005, ""
            if opcode == CLOSE:
                return struct.unpack("!H", payload[:2])[0], payload[2:].decode()

    def read_all(self) -> bytes:
        """What comes until the server closes the connection."""
        with suppress(ServerGone):
            while True:
                self._read_more()
        return bytes(self._unread)

    def vanish(self) -> None:
        """Be gone without a word, as behind a pulled cable: nothing is acknowledged any more.

        The kernel's filter for this one socket drops every packet, those for TCP itself too.
        """
        program = ctypes.create_string_buffer(struct.pack("=HBBI", BPF_RETURN, 0, 0, 0))
        self.socket.setsockopt(
            socket.SOL_SOCKET,
            SO_ATTACH_FILTER,
            struct.pack("@HP", 1, ctypes.addressof(program)),
        )

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def half_close(self) -> None:
        """Send FIN, keep reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._read_more()
        taken = bytes(self._unread[:count])
        del self._unread[:count]
        return taken

    def _read_more(self) -> None:
        self._unread += self._from_socket()

    def _from_socket(self) -> bytes:
        try:
            data = self.socket.recv(65536)
        except ConnectionError as exc:
            raise ServerGone(f"the server broke the connection: {exc}") from exc
        if not data:
            raise ServerGone("the server closed the connection")
        return data


def _close_frame(client: RawClient) -> None:
    """As clients should: close 4001 "bye", wait for the answer, hang up."""
    client.close(4001, "bye")
    client.socket.settimeout(1)
    with suppress(ServerGone, TimeoutError):
        client.read_close()
    client.socket.close()


LEAVING: dict[str, Callable[[RawClient], None]] = {
    "close frame": _close_frame,
    "half-close": RawClient.half_close,
    "FIN": lambda client: client.socket.close(),
    "RST": RawClient.reset,
}
"""The ways for a client to go."""

_CLIENT_PROGRAM = """
import sys
from websockets.sync.client import connect
with connect(sys.argv[1]) as ws:
    print("connected", flush=True)
    for message in ws:
        pass
"""


@contextmanager
def client_process(url: str) -> Iterator["subprocess.Popen[str]"]:
    """A connected client in a process of its own, to be killed."""
    with subprocess.Popen(
        [sys.executable, "-c", _CLIENT_PROGRAM, url], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "connected\n"
            yield process
        finally:
            process.kill()


def kill(process: "subprocess.Popen[str]") -> None:
    os.kill(process.pid, signal.SIGKILL)
