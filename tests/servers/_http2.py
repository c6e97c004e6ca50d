"""A WebSocket in a stream of HTTP/2 (RFC 8441), over TLS."""

import socket
import ssl
from collections.abc import Iterator
from typing import Self

import h2.config
import h2.connection
import h2.events

from tests.servers._clients import frame

PING = 9


class Http2Client:
    """One connection of HTTP/2 with one WebSocket in it."""

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        trust.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket = trust.wrap_socket(plain, server_hostname="localhost")
        assert self._socket.selected_alpn_protocol() == "h2"
        self._http = h2.connection.H2Connection(h2.config.H2Configuration())
        self._http.initiate_connection()
        self._events = self._receive()
        self._unread = b""
        self._stream = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def open(self, path: str) -> int:
        """Do the handshake; give the HTTP status."""
        while not self._http.remote_settings.enable_connect_protocol:
            next(self._events)
        self._stream = self._http.get_next_available_stream_id()
        self._http.send_headers(
            self._stream,
            [
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "https"),
                (":authority", "localhost"),
                (":path", path),
                ("sec-websocket-version", "13"),
            ],
        )
        self._flush()
        for event in self._events:
            if isinstance(event, h2.events.ResponseReceived):
                return int(dict(event.headers or [])[b":status"])
        raise AssertionError("no answer")

    def send(self, opcode: int, payload: bytes) -> None:
        self._http.send_data(self._stream, frame(opcode, payload))
        self._flush()

    def read(self) -> tuple[int, bytes]:
        """The next small frame that is no ping: opcode and payload."""
        while True:
            first, length = self._take(2)
            assert length < 126
            payload = self._take(length)
            if first & 0x0F != PING:
                return first & 0x0F, payload

    def _take(self, count: int) -> bytes:
        while len(self._unread) < count:
            event = next(self._events)
            if isinstance(event, h2.events.DataReceived):
                self._unread += event.data or b""
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def _receive(self) -> Iterator[h2.events.Event]:
        while True:
            self._flush()
            data = self._socket.recv(65536)
            if not data:
                raise AssertionError("the server closed the connection")
            yield from self._http.receive_data(data)

    def _flush(self) -> None:
        self._socket.sendall(self._http.data_to_send())
