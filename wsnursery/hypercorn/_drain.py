"""The drain: closing every WebSocket of an application before its server stops."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from wsnursery._backend.where import where_users_code_waits
from wsnursery._codes import check_close
from wsnursery._engine.open_connections import (
    RETRY_BODY,
    RETRY_HEADERS,
    RETRY_STATUS,
    OpenConnections,
    break_websocket,
    cancel_websocket,
    close_websocket,
    deny_before_entry,
    is_entered,
)
from wsnursery._errors import WebSocketDisconnected, shown
from wsnursery._types import Receive, Scope, Send
from wsnursery.asgi._extension import EXTENSION, ServerExtension
from wsnursery.asgi._open import open_websocket
from wsnursery.asgi._socket import drop, server_connection_of

from ._logs import logger

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[object]]
"""An ASGI application. `Any`, because every framework has its own types."""

DRAINING = "wsnursery.draining"
"""The key in ``scope["extensions"]`` of an HTTP request whose value says whether the server is
draining (ASGI spec, "Extensions")."""

CUT_SECONDS = 1.0
"""Seconds that a handler has to end once it has been cancelled."""


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
                "need 0 <= drain_spread <= drain_timeout < inf in seconds, got "
                f"drain_spread={self.spread} and drain_timeout={self.timeout}"
            )


class Drain:
    """An application around another one, which knows its WebSockets and can close them.

    A WebSocket of this library is closed as by `WebSocket.close`. For a handler written against
    bare ``receive`` and ``send``, the close is sent without its knowledge.

    Args:
        app: The application.
        policy: How the connections are ended.
    """

    def __init__(self, app: ASGIApp, policy: DrainPolicy) -> None:
        self._app = app
        self._policy = policy
        self._begun = False
        self._open = OpenConnections(_close, _cancel)
        self._handlers: dict[int, Scope] = {}
        """The scopes that are being served, by the id of the task that runs the application."""
        self._idle = anyio.Event()
        self._patience = anyio.CancelScope()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        task = anyio.get_current_task().id
        self._handlers[task] = scope
        try:
            if scope["type"] == "http":
                known: dict[str, Any] = {**(scope.get("extensions") or {}), DRAINING: self._begun}
                await self._app({**scope, "extensions": known}, receive, send)
            elif self._begun:
                await _refuse(scope, receive, send)
            else:
                await self._serve(scope, receive, send)
        finally:
            del self._handlers[task]
            if self.is_idle:
                self._idle.set()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        extension = ServerExtension(send)
        extensions: dict[str, Any] = {**(scope.get("extensions") or {}), EXTENSION: extension}
        self._open.add(extension)
        try:
            await self._app({**scope, "extensions": extensions}, receive, send)
        finally:
            self._open.discard(extension)

    @property
    def is_idle(self) -> bool:
        """Whether no request and no WebSocket is being served."""
        return not self._handlers

    async def until_idle(self) -> None:
        """Wait until no request and no WebSocket is being served."""
        while not self.is_idle:
            self._idle = anyio.Event()
            await self._idle.wait()

    def describe_handlers(self) -> list[str]:
        """Describe the handlers that have not ended. Call it in their event loop."""
        children: dict[int | None, list[anyio.TaskInfo]] = {}
        for task in anyio.get_running_tasks():
            children.setdefault(task.parent_id, []).append(task)
            if task.id in self._handlers:
                # The negative number stands for the handler itself, next to its own children.
                children[-task.id] = [task]
        return [
            f"{scope['type']} {shown(str(scope.get('path', '')))}{_client(scope)}, "
            f"{'; '.join(_places(children, children.get(-task, []))) or 'in a library'}"
            for task, scope in self._handlers.items()
        ]

    async def run(self, tasks: TaskGroup) -> None:
        """Refuse new handshakes, close what is open and wait until the handlers have ended.

        Handlers that have not ended in time are cancelled, and have one more second. Call it once.

        Args:
            tasks: Runs the closes, each of which may outlast this call, up to its own timeout.
        """
        # Set first, so that a handshake that arrives meanwhile is refused and not left open.
        self._begun = True
        began = anyio.current_time()
        count, timeout = len(self._open), self._policy.timeout
        self._patience.deadline = began + timeout
        logger.info("draining %d WebSockets for at most %g s", count, timeout)
        cancelled = await self._open.end_all(
            tasks.start_soon,
            self._policy.code,
            self._policy.reason,
            limit=self._patience,
            spread=self._policy.spread,
        )
        with anyio.move_on_after(CUT_SECONDS):
            await self._open.until_empty()
        logger.info(
            "drained in %.1f s: %d closed, %d cancelled, %d still there",
            anyio.current_time() - began,
            count - cancelled,
            cancelled - len(self._open),
            len(self._open),
        )

    def hurry(self) -> None:
        """Stop waiting for the handlers."""
        self._patience.cancel()

    def peer_has_gone(self, server: object) -> None:
        """End the WebSockets on a network connection abnormally.

        Args:
            server: The server's object for it.
        """
        for extension in self._open:
            connection = server_connection_of(extension.send)
            ws = extension.websocket
            if connection is not None and connection.server is server and ws is not None:
                break_websocket(ws, ConnectionAbortedError("the peer has closed"))


async def _close(extension: ServerExtension, code: int, reason: str) -> None:
    ws = extension.websocket
    if ws is None:
        await _close_raw(extension, code, reason)
    elif is_entered(ws):
        await close_websocket(ws, code, reason)
    else:
        await deny_before_entry(ws)


async def _close_raw(extension: ServerExtension, code: int, reason: str) -> None:
    """Close the connection of a handler that calls bare ``receive`` and ``send``."""
    extension.closed_by_server = True
    try:
        # After the accept, Hypercorn refuses this event, and it has no effect.
        start = {"type": "websocket.http.response.start", "status": RETRY_STATUS}
        await extension.send({**start, "headers": RETRY_HEADERS})
    except Exception:  # noqa: BLE001 - a class of Hypercorn's
        await extension.send({"type": "websocket.close", "code": code, "reason": reason})
    else:
        await extension.send({"type": "websocket.http.response.body", "body": RETRY_BODY})


async def _cancel(extension: ServerExtension, code: int, reason: str) -> None:
    """Cancel the handler, and reset its connection, which ends calls that wait for the network."""
    connection = server_connection_of(extension.send)
    if extension.websocket is not None and is_entered(extension.websocket):
        await cancel_websocket(extension.websocket, code, reason)
    elif connection is not None and not connection.shared:
        # ASGI has no call that cancels an application. A reset at least ends its calls of `receive`
        # and `send`. Over HTTP/2 it would end the other streams of that client, too.
        drop(connection.server, connection.socket)


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return f" of {client[0]}:{client[1]}" if client else ""


def _places(
    children: dict[int | None, list[anyio.TaskInfo]], tasks: list[anyio.TaskInfo]
) -> list[str]:
    """Where tasks and their children stand in the code of the application."""
    places: dict[str, None] = {}
    for task in tasks:
        places[where_users_code_waits(task.coro)] = None
        places.update(dict.fromkeys(_places(children, children.get(task.id, []))))
    return [place for place in places if place]


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    with suppress(WebSocketDisconnected):
        async with open_websocket(scope, receive, send) as ws:
            await ws.reject(RETRY_STATUS, RETRY_HEADERS, RETRY_BODY)
