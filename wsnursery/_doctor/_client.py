"""A WebSocket client on a raw socket, which can also misbehave, unlike a client library."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from typing import Any

TEXT, CLOSE = 1, 8

Facts = dict[str, Any]
"""Observations. They must be JSON values."""


def frame(opcode: int, payload: bytes) -> bytes:
    """Make one whole masked frame. The mask is zero, which leaves the payload unchanged."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65536:
        length = b"\xfe" + struct.pack("!H", size)
    else:
        length = b"\xff" + struct.pack("!Q", size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def handshake(path: str, *headers: str, host: str = "localhost") -> bytes:
    """Make an opening handshake (RFC 6455 section 4.1), with the key of section 1.3."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class ProbeClient:
    """One connection. It reads the answer to the handshake when it first reads anything.

    Args:
        address: Host and port of the server.
        path: Path and query string.
        early: Bytes to send in the packet of the handshake.
        receive_buffer: The kernel's receive buffer, in bytes; `None` keeps the kernel's default.
    """

    def __init__(
        self,
        address: tuple[str, int],
        path: str,
        *,
        early: bytes = b"",
        receive_buffer: int | None = None,
    ) -> None:
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(5)
        self._unread = b""
        self._status: int | None = None
        self._end: Facts | None = None
        try:
            self._socket.connect(address)
            self._socket.sendall(handshake(path, host=f"{address[0]}:{address[1]}") + early)
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Close the socket, whatever its state."""
        self._socket.close()

    # -------------------------------------------------------------- ways to leave

    def close_frame(self) -> None:
        """Send a close frame (4001 "bye"), read the answer, and close, as a client library does."""
        self._socket.sendall(frame(CLOSE, struct.pack("!H", 4001) + b"bye"))
        self._end = self._read_end(1)
        self._hang_up()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        # With a linger time of 0, closing the socket sends a reset.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._leave()

    def fin(self) -> None:
        """Close the socket without a close frame, as when a process dies."""
        self._leave()

    def half_close(self) -> None:
        """Send FIN and keep reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def _leave(self) -> None:
        self._end = {"end": "left"}
        self._socket.close()

    # ---------------------------------------------------------------------- messages

    def send(self, count: int, pause: float = 0.0) -> None:
        """Send the numbers below `count` as text messages.

        Args:
            count: The number of messages.
            pause: Seconds after each message. Without a pause they are sent together.
        """
        messages = [frame(TEXT, str(number).encode()) for number in range(count)]
        # Without a pause, one write lets the server read as many messages at once as possible.
        for message in messages if pause else [b"".join(messages)]:
            self._socket.sendall(message)
            time.sleep(pause)

    def flood(self, limit: int) -> int:
        """Send 16 KB messages until the server takes none for half a second, or until `limit`.

        Returns:
            The number of bytes sent, including some megabytes in the kernel's buffers.
        """
        message = frame(TEXT, b"x" * 16384)
        sent = 0
        self._socket.settimeout(0.5)
        with suppress(TimeoutError):
            while sent < limit:
                # The previous call may have sent only a part of a frame.
                sent += self._socket.send(message[sent % len(message) :])
        self._socket.settimeout(5)
        return sent

    def read(self, count: int, size: int) -> int:
        """Slowly read up to `count` messages. Return how many are whole: `size` equal bytes."""
        whole = 0
        with suppress(EOFError, OSError):
            for _ in range(count):
                opcode, payload = self._next_frame()
                while opcode >= CLOSE:  # skip a ping
                    opcode, payload = self._next_frame()
                whole += payload == payload[:1] * size
                time.sleep(0.001)
        return whole

    def answer(self) -> None:
        """Wait for the server's close frame, answer it and close, as a client library does."""
        self._end = self._read_end(5)
        if self._end["end"] == "close":
            self._socket.sendall(frame(CLOSE, struct.pack("!H", self._end["code"] or 1000)))
        self._hang_up()

    def _hang_up(self) -> None:
        """Close the socket once the server has closed its half, or after a second."""
        self._socket.settimeout(1)
        with suppress(OSError):
            # Closing a socket with unread data would reset the connection.
            while self._socket.recv(262144):
                pass
        self._socket.close()

    # -------------------------------------------------------------------- observations

    def outlook(self, seconds: float) -> Facts:
        """Describe the connection as the client sees it: the answer to the handshake, and the end.

        Returns:
            `status` (`None` if there was no answer) and `end`: "close" with the `code`, "FIN",
            "RST", "open" after that many seconds, or "left" if the client itself has left.
        """
        end = self._end or self._read_end(seconds)
        return {"status": self._status, **end}

    def _read_end(self, seconds: float) -> Facts:
        deadline = time.monotonic() + seconds
        self._socket.settimeout(seconds)
        try:
            self._read_status()
            while time.monotonic() < deadline:
                opcode, payload = self._next_frame()
                if opcode == CLOSE:
                    return {"end": "close", "code": _code(payload)}
        except TimeoutError:
            pass
        except EOFError:
            return {"end": "FIN"}
        except ConnectionError:
            return {"end": "RST"}
        return {"end": "open"}

    def _read_status(self) -> None:
        if self._status is not None:
            return
        while b"\r\n\r\n" not in self._unread:
            self._read_more()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        self._status = int(head.split()[1])

    def _next_frame(self) -> tuple[int, bytes]:
        self._read_status()
        opcode = self._take(1)[0] & 0x0F
        length = self._take(1)[0]
        if length == 126:
            (length,) = struct.unpack("!H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._take(8))
        return opcode, self._take(length)

    def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._read_more()
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def _read_more(self) -> None:
        data = self._socket.recv(262144)
        if not data:
            raise EOFError
        self._unread += data


def _code(payload: bytes) -> int | None:
    """Return the code of a close frame. An empty one has no code."""
    return int.from_bytes(payload[:2], "big") if payload else None
