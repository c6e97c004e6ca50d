"""An ASGI server in memory: a scope, ``receive`` and ``send``, and the peer at the other end."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ._asgi import AsgiSide
from ._channel import Channel, CloseFrame
from ._faults import Armed, Fault
from ._peer import DEFAULT_TIMEOUT, Peer
from ._personalities import SILENT, Personality

if TYPE_CHECKING:
    from ._transcript import Transcript


class Server:
    """One WebSocket connection of an ASGI server, in memory.

    Pass ``scope``, ``receive`` and ``send`` to the code under test, and control the remote end with
    ``peer``, both in the same test function::

        server = Server(personality=UVICORN)
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
            await server.peer.send("hello")
            assert await ws.receive() == "hello"

    :func:`connect` does the same for a whole application, which runs in its own task.

    Args:
        path: The path of the request, without the query string.
        query_string: The query string, encoded.
        headers: The headers of the request, as in the ASGI scope.
        subprotocols: The subprotocols that the peer offers.
        personality: The behaviour of the server.
        faults: The faults to inject.
        receive_queue: The size of this queue, in messages; ``None`` keeps the personality's.
        send_queue: The size of this queue, in messages; ``None`` keeps the personality's.
        answers_close: Whether the peer answers the application's close frame.
        timeout: Seconds that the peer's calls wait for the application.
        scope: More entries of the scope, which replace the server's own.
    """

    def __init__(
        self,
        *,
        path: str = "/",
        query_string: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]] = (),
        subprotocols: Sequence[str] = (),
        personality: Personality = SILENT,
        faults: Iterable[Fault] = (),
        receive_queue: int | None = None,
        send_queue: int | None = None,
        answers_close: bool = True,
        timeout: float = DEFAULT_TIMEOUT,
        scope: Mapping[str, Any] | None = None,
    ) -> None:
        if receive_queue is not None:
            personality = dataclasses.replace(personality, receive_queue=receive_queue)
        if send_queue is not None:
            personality = dataclasses.replace(personality, send_queue=send_queue)
        self.personality = personality
        """The behaviour of this server."""
        self._channel = Channel(personality)
        self.peer: Peer = self._make_peer(self._channel, timeout, answers_close)
        """The remote end."""
        self._faults = [Armed(fault, self.peer) for fault in faults]
        self._asgi = AsgiSide(self._channel, lambda: self._faults, self.peer.see_close)
        self.receive: Callable[[], Coroutine[Any, Any, Mapping[str, Any]]] = self._asgi.receive
        """The raw ASGI receive."""
        self.send: Callable[[Mapping[str, Any]], Coroutine[Any, Any, None]] = self._asgi.send
        """The raw ASGI send."""
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "asgi": _asgi_version(personality),
            "http_version": "1.1",
            "scheme": "ws",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query_string,
            "root_path": "",
            "headers": _request_headers(headers, subprotocols),
            # An address for documentation (RFC 5737).
            "client": ("192.0.2.1", 50000),
            "server": ("test", 80),
            "subprotocols": list(subprotocols),
            "state": {},
        }
        """The ASGI scope."""
        if personality.extensions is not None:
            self.scope["extensions"] = {name: {} for name in personality.extensions}
        self.scope.update(scope or {})

    def _make_peer(self, channel: Channel, timeout: float, answers_close: bool) -> Peer:
        return Peer(channel, timeout=timeout, answers_close=answers_close)

    @property
    def transcript(self) -> Transcript:
        """The events so far."""
        return self._channel.transcript

    @contextmanager
    def inject(self, *faults: Fault) -> Generator[None]:
        """Inject faults inside the block. They count the calls from here on."""
        armed = [Armed(fault, self.peer) for fault in faults]
        self._faults = [*self._faults, *armed]
        try:
            yield
        finally:
            self._faults = [fault for fault in self._faults if fault not in armed]

    def shut_down(self, code: int = 1012) -> None:
        """Stop the server, with a disconnect event for the application, as uvicorn does."""
        self._channel.log("server", "close", code=code)
        self._channel.to_peer.append(CloseFrame(code))
        self._channel.peer_left = True
        self._channel.finish(self._channel.disconnect_event(code))

    def app_ended(self, error: BaseException | None = None) -> None:
        """Behave as the server does when the application has returned or raised.

        Args:
            error: The exception of the application, if it raised.
        """
        self._channel.log("app", "end", detail="" if error is None else repr(error))
        if not self._channel.accepted:
            if not self._channel.denied:
                self._channel.denial = (self.personality.unanswered_status, [])
                self._channel.denied = True
        elif self._channel.app_closed is None and not self._channel.peer_left:
            code = self.personality.ended_code
            self._channel.log("server", "close", code=code)
            self._channel.to_peer.append(CloseFrame(1006 if code is None else code))
        self._channel.peer_left = True
        self._channel.notify()


def _asgi_version(personality: Personality) -> dict[str, str]:
    version = {"version": "3.0"}
    if personality.spec_version is not None:
        version["spec_version"] = personality.spec_version
    return version


def _request_headers(
    headers: Iterable[tuple[bytes, bytes]], subprotocols: Sequence[str]
) -> list[tuple[bytes, bytes]]:
    handshake = [
        (b"host", b"test"),
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    if subprotocols:
        handshake.append((b"sec-websocket-protocol", ", ".join(subprotocols).encode()))
    given = list(headers)
    names = {name.lower() for name, _ in given}
    return [*((name, value) for name, value in handshake if name not in names), *given]
