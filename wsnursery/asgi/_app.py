"""`websocket_app`: a handler as an ASGI application that knows its open connections."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import update_wrapper
from inspect import Signature
from typing import overload

import anyio

from wsnursery._codes import check_close
from wsnursery._engine.functions import called, check_handler, shown_name, typed_signature
from wsnursery._engine.open_connections import (
    OpenConnections,
    cancel_websocket,
    close_websocket,
)
from wsnursery._engine.quiet_disconnect import QuietDisconnect
from wsnursery._engine.websocket import Handler as Handler
from wsnursery._engine.websocket import WebSocket
from wsnursery._options import Options, check_options
from wsnursery._types import Receive, Scope, Send

from ._lifespan import Lifespan, check_lifespan, run_lifespan
from ._open import open_websocket

"""What `websocket_app` decorates: an async function of one `WebSocket`."""

_UPGRADE_ADVICE = b"This is a WebSocket endpoint: connect with ws:// or wss://.\n"


class WebSocketApp:
    """An ASGI application around a handler. `websocket_app` makes it.

    It serves ``websocket`` scopes, answers ``http`` with 426 (RFC 9110 §15.5.22) and runs the
    lifespan. It has the name and the docstring of the handler, which is ``__wrapped__``.
    """

    __name__: str
    __wrapped__: Handler
    __signature__: Signature | None

    def __init__(
        self, handler: Handler, options: Options, lifespan: Lifespan | None = None
    ) -> None:
        check_handler(handler)
        self._handler = handler
        self._options = options
        self._lifespan = lifespan
        self._open = OpenConnections(close_websocket, cancel_websocket)
        self.__name__ = self.__qualname__ = shown_name(handler)
        update_wrapper(self, handler, updated=())
        # FastAPI takes an argument without a type for a query parameter, and denies every
        # handshake. With the type it refuses the route, and names the right call.
        self.__signature__ = typed_signature(handler, WebSocket)

    def __repr__(self) -> str:
        return f"<WebSocketApp {self.__qualname__}: {len(self._open)} open>"

    @property
    def connections(self) -> tuple[WebSocket, ...]:
        """The connections whose blocks are open, oldest first."""
        return tuple(self._open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope.

        Raises:
            RuntimeError: The scope has another type. The ASGI specification requires this error.
        """
        kind = scope["type"]
        if kind == "websocket":
            await self._serve(scope, receive, send)
        elif kind == "http":
            await _upgrade_required(scope, send)
        elif kind == "lifespan":
            await run_lifespan(receive, send, self._lifespan)
        else:
            raise RuntimeError(f"websocket_app cannot serve a scope of type {kind!r}")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        ws = open_websocket(scope, receive, send, options=self._options)
        try:
            with QuietDisconnect(ws):
                async with ws:
                    self._open.add(ws)
                    await called(self._handler, ws)
        finally:
            self._open.discard(ws)

    async def close_all(
        self, code: int = 1001, reason: str = "", timeout: float | None = 10.0
    ) -> None:
        """Close every open connection and wait until their handlers have ended.

        Args:
            code: The close code; 1001 ("going away") tells clients to come back later.
            reason: The close reason, at most 123 bytes in UTF-8.
            timeout: Seconds after which the handlers that still run are cancelled; `None` waits for
                ever.

        Raises:
            LocalProtocolError: The code or the reason may not be sent.

        *Checkpoint*: yes. *Cancellation*: the closes are sent anyway. Call it in the event loop
        that serves the application.
        """
        check_close(code, reason)
        deadline = math.inf if timeout is None else anyio.current_time() + timeout
        limit = anyio.CancelScope(deadline=deadline)
        async with anyio.create_task_group() as closing:
            await self._open.end_all(closing.start_soon, code, reason, limit=limit)
            # The closes that have begun are sent even without this call.
            closing.cancel_scope.cancel()


async def _upgrade_required(scope: Scope, send: Send) -> None:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(_UPGRADE_ADVICE)).encode()),
    ]
    if str(scope.get("http_version", "1.1")).startswith("1"):
        # HTTP/2 and later forbid connection-specific fields (RFC 9113 §8.2.2).
        headers += [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
    await send({"type": "http.response.start", "status": 426, "headers": headers})
    await send({"type": "http.response.body", "body": _UPGRADE_ADVICE})


@overload
def websocket_app(
    handler: Handler, /, *, options: Options = ..., lifespan: Lifespan | None = ...
) -> WebSocketApp: ...


# Without a parameter for the handler: a type checker shows the mistake in a handler by the overload
# above only if this one cannot be meant.
@overload
def websocket_app(
    *, options: Options = ..., lifespan: Lifespan | None = ...
) -> Callable[[Handler], WebSocketApp]: ...


def websocket_app(
    handler: Handler | None = None,
    /,
    *,
    options: Options = Options(),
    lifespan: Lifespan | None = None,
) -> WebSocketApp | Callable[[Handler], WebSocketApp]:
    """Make an ASGI application of a handler.

    Use it as a decorator, bare or with options::

        @websocket_app
        async def app(ws: WebSocket) -> None:
            await ws.accept()
            async for message in ws:
                await ws.send(message)

    A handler that ends because the client left is a normal end: the `WebSocketDisconnected` of this
    connection is logged at debug level and is not raised to the server. If it hides an error of the
    handler, because a call in ``except`` or ``finally`` raised it, the error is logged as a
    warning. Every other exception goes to the server.

    Args:
        handler: An async function of one `WebSocket`; a bound method, a ``functools.partial`` or an
            object with an async ``__call__`` is one too.
        options: Limits and mode of every connection.
        lifespan: A function without arguments that gives an async context manager. The block is
            entered before the first connection and left when the server stops: for a task that
            feeds all connections, a pool, shared rooms. Its exceptions go to the server.

    Returns:
        The application; its `WebSocketApp.close_all` ends all open connections.

    Raises:
        TypeError: The handler is not a function of one argument, or the lifespan not one without
            arguments, or the options are something else.
    """
    check_options(options)
    if lifespan is not None:
        check_lifespan(lifespan)

    def decorate(handler: Handler) -> WebSocketApp:
        return WebSocketApp(handler, options, lifespan)

    return decorate if handler is None else decorate(handler)
