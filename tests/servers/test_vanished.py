"""Clients that vanish without a word: their handlers end within the configured time."""

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Self

import pytest

from tests.servers._clients import RawClient
from tests.servers._serving import LATE, Crowd, Start

PING, USER_TIMEOUT = 0.5, 1.0
"""Seconds; the kernel looks at the second when it sends something again, less and less often."""


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
def test_behind_a_cable_that_was_pulled(start: Start) -> None:
    settings = {"websocket_ping_interval": PING, "tcp_user_timeout": USER_TIMEOUT}
    with start(**settings) as server, ExitStack() as stack:
        crowd = Crowd(server, stack)
        for path in ("/ours/echo", "/ours/idle", "/ours/push", "/raw/echo"):
            crowd.join(path)
        # This one is there, and reads nothing: its `send_timeout` is 30 s.
        stalled = Crowd(server, stack)
        stalled.join("/ours/flood", receive_buffer=4096)
        for client in crowd.clients.values():
            client.vanish()
        for connection in (*crowd.clients, *stalled.clients):
            server.wait_for(connection, "ended", 2 * (PING + USER_TIMEOUT) + LATE)
        # The kernel has notified Hypercorn, and Hypercorn the handlers.
        for connection in crowd.clients:
            assert server.wait_for(connection, "noticed")["code"] == 1006
        assert server.answers


class Proxy:
    """Forwards bytes until it must hold them back, but still acknowledges them."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._frozen = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        self._run(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets:
            sock.close()

    def freeze(self) -> None:
        self._frozen.set()

    def _run(self, function: Callable[..., None], *arguments: socket.socket) -> None:
        threading.Thread(target=function, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                self._run(self._forward, client, server)
                self._run(self._forward, server, client)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._frozen.is_set():
                    target.sendall(data)


def pong(client: RawClient) -> None:
    """Answer the first ping."""
    opcode, payload = client.read()
    assert opcode == 9
    client.socket.sendall(bytes([0x8A, 0x80 | len(payload)]) + bytes(4) + payload)


def test_behind_a_proxy(start: Start) -> None:
    """The proxy acknowledges what the client never gets: only the missing pongs show it."""
    settings = {"websocket_ping_interval": 0.3, "read_timeout": 1.0}
    with start(**settings) as server, Proxy(server.port) as proxy:
        for handler in ("echo", "idle", "push"):
            connection = server.new_id()
            with RawClient(proxy.port) as client:
                assert client.open(f"/ours/{handler}?id={connection}") == 101
                if handler != "push":
                    for _ in range(4):
                        pong(client)  # for longer than the timeout
                assert not server.records(connection, "noticed")
                proxy.freeze()
                server.wait_for(connection, "ended", 1 + LATE)
            proxy._frozen.clear()
