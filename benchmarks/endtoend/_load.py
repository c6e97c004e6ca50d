"""The load: many connections in one thread, messages counted by their bytes and not parsed."""

from __future__ import annotations

import selectors
import socket
import struct
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter, process_time
from types import TracebackType
from typing import Self

from benchmarks._wire import SWITCHED, client_frame, server_frame
from wsnursery._doctor._client import handshake

_BATCH = 50  # connections that are opened at once: fewer than a server's backlog
_PATIENCE = 60.0  # seconds without any progress, after which something hangs
_BUFFER = memoryview(bytearray(1 << 20))


@dataclass(frozen=True)
class Run:
    """What some messages took.

    Attributes:
        messages: how many were exchanged.
        seconds: of the clock.
        share: of one core that the load itself used meanwhile.
        latencies: seconds from a question to its answer, where there are answers.
    """

    messages: int
    seconds: float
    share: float
    latencies: array[float] = field(default_factory=lambda: array("d"))


class _Connection:
    def __init__(self, selector: selectors.BaseSelector, address: tuple[str, int]) -> None:
        self._selector = selector
        self._rest = memoryview(b"")
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = 0  # bytes that are still to come
        self.pending = 0  # bytes that have come of an unfinished answer
        self.to_send = 0  # messages
        self.sent_at: deque[float] = deque()

    def watch(self) -> None:
        """From here on nothing blocks."""
        self.socket.setblocking(False)
        self._selector.register(self.socket, selectors.EVENT_READ, self)

    def write(self, data: bytes) -> None:
        """Write it now, or as soon as the server reads."""
        if self._rest:
            self._rest = memoryview(bytes(self._rest) + data)
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._rest = memoryview(data)[sent:]
            self._watch_for(selectors.EVENT_READ | selectors.EVENT_WRITE)

    def write_on(self) -> None:
        """The server reads."""
        self._rest = self._rest[self.socket.send(self._rest) :]
        if not self._rest:
            self._watch_for(selectors.EVENT_READ)

    def _watch_for(self, events: int) -> None:
        self._selector.modify(self.socket, events, self)

    def read(self) -> int:
        """The number of bytes that have come."""
        try:
            count = self.socket.recv_into(_BUFFER)
        except BlockingIOError:
            return 0
        if not count:
            raise RuntimeError("The server closed the connection")
        return count

    def reset(self) -> None:
        """Vanish: TCP RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Load:
    """Connections to one server, all on the same path.

    Args:
        address: of the server.
        path: of the handler; `None` does not even shake hands.
        connections: how many to open.
    """

    def __init__(self, address: tuple[str, int], path: str | None, connections: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._connections: list[_Connection] = []
        while len(self._connections) < connections:
            self._open(address, path, min(_BATCH, connections - len(self._connections)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for connection in self._connections:
            connection.socket.close()
        self._selector.close()

    def _open(self, address: tuple[str, int], path: str | None, count: int) -> None:
        fresh = [_Connection(self._selector, address) for _ in range(count)]
        if path is not None:
            for connection in fresh:
                connection.socket.sendall(handshake(path))
            for connection in fresh:
                answer = b""
                while b"\r\n\r\n" not in answer:
                    answer += connection.socket.recv(65536)
                if not answer.startswith(SWITCHED):
                    raise RuntimeError(f"The server refused {path}: {answer!r}")
        for connection in fresh:
            connection.watch()
        self._connections += fresh

    def reset(self) -> None:
        """Vanish, all at once."""
        for connection in self._connections:
            connection.reset()
        self._connections.clear()

    def exchange(self, messages: int, text: str, in_flight: int, *, raw: bool = False) -> Run:
        """Echoes, with several of them in flight on each connection.

        Args:
            messages: in all.
            text: of each.
            in_flight: how many of a connection's may be without an answer.
            raw: the server sends bytes back as they come and knows no frames.
        """
        question = client_frame(text)
        size = len(question if raw else server_frame(text))
        each = messages // len(self._connections)
        latencies: array[float] = array("d")

        def ask(connection: _Connection, count: int) -> None:
            connection.to_send -= count
            connection.sent_at.extend([perf_counter()] * count)
            connection.write(question * count)

        def answered(connection: _Connection, count: int) -> None:
            connection.left -= count
            connection.pending += count
            answers, connection.pending = divmod(connection.pending, size)
            now = perf_counter()
            for _ in range(answers):
                latencies.append(now - connection.sent_at.popleft())
            if answers and connection.to_send:
                ask(connection, min(answers, connection.to_send))

        def begin() -> None:
            for connection in self._connections:
                connection.left, connection.to_send = each * size, each
                ask(connection, min(in_flight, each))

        return self._run(each * len(self._connections), begin, answered, latencies)

    def push(self, messages: int, text: str) -> Run:
        """The server sends; the load only reads."""
        each = messages // len(self._connections)
        order = client_frame(f"{each}:{text}")

        def begin() -> None:
            for connection in self._connections:
                connection.left = each * len(server_frame(text))
                connection.write(order)

        return self._run(each * len(self._connections), begin, _came)

    def receive(self, messages: int, text: str) -> Run:
        """The load sends; each connection's last message is answered."""
        each = messages // len(self._connections)
        questions = client_frame(text) * each + client_frame("end")

        def begin() -> None:
            for connection in self._connections:
                connection.left = len(server_frame("end"))
                connection.write(questions)

        return self._run(each * len(self._connections), begin, _came)

    def broadcast(self, messages: int, text: str) -> Run:
        """One connection publishes, every one of them gets it, and the next one is published.

        Args:
            messages: deliveries in all.
            text: of each.
        """
        question, size = client_frame(text), len(server_frame(text))
        members = len(self._connections)
        rounds = max(1, messages // members)
        latencies: array[float] = array("d")
        waiting = 0
        published = 0
        published_at = 0.0

        def publish() -> None:
            nonlocal waiting, published, published_at
            waiting, published, published_at = members, published + 1, perf_counter()
            self._connections[0].write(question)

        def came(connection: _Connection, count: int) -> None:
            nonlocal waiting
            connection.left -= count
            connection.pending += count
            if connection.pending < size:
                return
            connection.pending -= size
            latencies.append(perf_counter() - published_at)
            waiting -= 1
            if not waiting and published < rounds:
                publish()

        def begin() -> None:
            for connection in self._connections:
                connection.left = rounds * size
            publish()

        return self._run(rounds * members, begin, came, latencies)

    def _run(
        self,
        messages: int,
        begin: Callable[[], None],
        came: Callable[[_Connection, int], None],
        latencies: array[float] | None = None,
    ) -> Run:
        busy, start = process_time(), perf_counter()
        begin()
        unfinished = len(self._connections)
        while unfinished:
            ready = self._selector.select(_PATIENCE)
            if not ready:
                raise RuntimeError(f"Nothing came for {_PATIENCE:.0f} s; {unfinished} are waiting")
            for key, events in ready:
                connection: _Connection = key.data
                if events & selectors.EVENT_WRITE:
                    connection.write_on()
                if events & selectors.EVENT_READ and (count := connection.read()):
                    came(connection, count)
                    unfinished -= not connection.left
        seconds = perf_counter() - start
        share = (process_time() - busy) / seconds
        return Run(messages, seconds, share, latencies or array("d"))


def _came(connection: _Connection, count: int) -> None:
    connection.left -= count
