"""A WebSocket in a stream of HTTP/2 (RFC 8441), with TLS or without."""

import ssl
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.servers._clients import RawClient, ServerGone

STREAM = 1


class Http2Client(RawClient):
    """A WebSocket in the first stream of an HTTP/2 connection.

    Args:
        port: the server's.
        trust: speak TLS, and trust these authorities.
    """

    def __init__(self, port: int, trust: ssl.SSLContext | None = None) -> None:
        super().__init__(port)
        self._scheme = "http" if trust is None else "https"
        if trust is not None:
            trust.set_alpn_protocols(["h2"])
            self.socket = trust.wrap_socket(self.socket, server_hostname="localhost")
            assert self.socket.selected_alpn_protocol() == "h2"
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._http2.initiate_connection()
        self._status: int | None = None
        self._ended = False

    def ask(self, path: str, *headers: str, early: bytes = b"") -> None:
        self._flush()
        while not self._http2.remote_settings.enable_connect_protocol:
            self._read_more()
        request = {
            ":method": "CONNECT",
            ":protocol": "websocket",
            ":scheme": self._scheme,
            ":path": path,
            ":authority": "localhost",
            "sec-websocket-version": "13",
        }
        self._http2.send_headers(STREAM, list(request.items()))
        self._flush()

    def open(self, path: str, *headers: str, early: bytes = b"") -> int:
        self.ask(path)
        while self._status is None:
            self._read_more()
        return self._status

    def write(self, data: bytes) -> None:
        self._http2.send_data(STREAM, data)
        self._flush()

    def reset_stream(self) -> None:
        self._http2.reset_stream(STREAM)
        self._flush()

    def end_stream(self) -> None:
        self._http2.end_stream(STREAM)
        self._flush()

    def go_away(self) -> None:
        self._http2.close_connection()
        self._flush()

    def _flush(self) -> None:
        self.socket.sendall(self._http2.data_to_send())

    def _read_more(self) -> None:
        if self._ended:
            raise ServerGone("the server ended the stream")
        for event in self._http2.receive_data(self._from_socket()):
            self._on_event(event)
        self._flush()

    def _on_event(self, event: Any) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.headers = {str(name): str(value) for name, value in event.headers or ()}
            self._status = int(self.headers[":status"])
        elif isinstance(event, h2.events.DataReceived):
            self._unread += event.data or b""
            self._http2.acknowledge_received_data(event.flow_controlled_length or 0, STREAM)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            self._ended = True
