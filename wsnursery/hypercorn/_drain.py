"""Ending every WebSocket of an application before its server stops."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import anyio

from wsnursery._codes import check_close
from wsnursery._engine.websocket import connection_of
from wsnursery._errors import LocalProtocolError, WebSocketDisconnected
from wsnursery._types import Receive, Scope, Send
from wsnursery.asgi._extension import EXTENSION, Link
from wsnursery.asgi._open import open_websocket
from wsnursery.asgi._socket import carrier_of, drop, make_end_harmless

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

logger = logging.getLogger("wsnursery")

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[object]]
"""An ASGI application: every framework's."""

BATCH_SECONDS = 0.1
"""Seconds between two batches of closes."""

CUT_SECONDS = 1.0
"""Seconds that a handler has to end once it has been cancelled."""

SMALLEST_BATCH = 10
"""The fewest connections that a batch closes: a hundred of them are no stampede."""

RETRY_HEADERS = [(b"content-type", b"text/plain; charset=utf-8"), (b"retry-after", b"1")]
RETRY_BODY = b"This server is being restarted: try again.\n"


@dataclass(frozen=True, kw_only=True)
class DrainPolicy:
    """How the connections are ended.

    Raises:
        LocalProtocolError: The code or the reason may not be sent.
        ValueError: A time is out of range.
    """

    timeout: float
    """Seconds from the first close to the cancellation of the handlers that still run."""
    spread: float
    """Seconds over which the closes are spread."""
    code: int
    reason: str

    def __post_init__(self) -> None:
        check_close(self.code, self.reason)
        if not 0 <= self.spread <= self.timeout < math.inf:
            raise ValueError(
                "drain_spread is from 0 to drain_timeout, and that is a finite number of seconds: "
                f"not {self.spread} and {self.timeout}"
            )


class Drain:
    """An application around another one, which knows its WebSockets and can end them.

    A WebSocket of this library is closed as by its own `WebSocket.close`. To a handler written
    against bare ``receive`` and ``send`` the close is sent behind its back.

    Args:
        app: The application.
        policy: How the connections are ended.
    """

    def __init__(self, app: ASGIApp, policy: DrainPolicy) -> None:
        self._app = app
        self._policy = policy
        self._begun = False
        self._open: dict[Link, None] = {}
        self._requests = 0
        self._emptied = anyio.Event()
        self._patience = anyio.CancelScope()
        self._servers: WeakKeyDictionary[object, Any] = WeakKeyDictionary()
        """The server's objects for the network connections that it has, and their sockets."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        carrier = carrier_of(send)
        if carrier is not None:
            self._servers[carrier.server] = carrier.socket
            make_end_harmless(carrier)
        if scope["type"] == "http":
            self._requests += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._requests -= 1
        elif scope["type"] != "websocket":
            await self._app(scope, receive, send)
        elif self._begun:
            await _refuse(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        link = Link(send)
        extensions: dict[str, Any] = {**(scope.get("extensions") or {}), EXTENSION: link}
        self._open[link] = None
        try:
            await self._app({**scope, "extensions": extensions}, receive, send)
        finally:
            del self._open[link]
            if not self._open:
                self._emptied.set()

    @property
    def is_idle(self) -> bool:
        """Whether no request and no WebSocket is being served."""
        return not self._open and not self._requests

    async def run(self, tasks: TaskGroup) -> None:
        """Refuse new handshakes, close what is open and wait until the handlers have ended.

        Those that have not when the time is over are cancelled, and waited for a second longer.
        Call it once.

        Args:
            tasks: Runs the closes, each of which may outlast this call by its own timeout.
        """
        self._begun = True
        self._emptied = anyio.Event()
        with self._patience:
            self._patience.deadline = anyio.current_time() + self._policy.timeout
            await self._close_in_batches(tasks)
            if self._open:
                await self._emptied.wait()
        for link in tuple(self._open):
            self._cut(link)
        with anyio.move_on_after(CUT_SECONDS):
            if self._open:
                await self._emptied.wait()

    async def _close_in_batches(self, tasks: TaskGroup) -> None:
        waiting = tuple(self._open)
        batches = max(1, math.floor(self._policy.spread / BATCH_SECONDS))
        size = max(SMALLEST_BATCH, math.ceil(len(waiting) / batches))
        for start in range(0, len(waiting), size):
            if start:
                await anyio.sleep(BATCH_SECONDS)
            for link in waiting[start : start + size]:
                if link in self._open:
                    tasks.start_soon(self._close, link)

    async def _close(self, link: Link) -> None:
        code, reason = self._policy.code, self._policy.reason
        ws = link.websocket
        try:
            if ws is None:
                await link.send({"type": "websocket.close", "code": code, "reason": reason})
            elif ws.state in ("connecting", "requested"):
                await ws.reject(503, RETRY_HEADERS, RETRY_BODY)
            else:
                await ws.close(code, reason)
        except Exception as exc:  # noqa: BLE001 - it ended meanwhile, and the others must be closed
            logger.debug("could not close a WebSocket before the server stops: %r", exc)

    def _cut(self, link: Link) -> None:
        """Its time is over: cancel the handler, or at least free what waits for the network."""
        carrier = carrier_of(link.send)
        if link.websocket is not None:
            with suppress(anyio.ClosedResourceError, LocalProtocolError):
                scope = link.websocket.cancel_scope
                # If its turn has not come yet: a cancelled block would close with 1000.
                connection_of(link.websocket).begin_close(self._policy.code, self._policy.reason)
                scope.cancel()
        elif carrier is not None and not carrier.shared:
            drop(carrier.server, carrier.socket)

    def hurry(self) -> None:
        """Wait no longer for the handlers."""
        self._patience.cancel()

    def drop_all(self) -> None:
        """Reset every network connection that the server still has, HTTP's too."""
        for server, sock in tuple(self._servers.items()):
            drop(server, sock)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    with suppress(WebSocketDisconnected):
        async with open_websocket(scope, receive, send) as ws:
            await ws.reject(503, RETRY_HEADERS, RETRY_BODY)
