"""The disconnect that ends a handler, where a handler runs as a program of its own."""

from __future__ import annotations

from functools import partial
from types import TracebackType

from wsnursery._backend.cancellation import is_cancellation
from wsnursery._errors import WebSocketDisconnected

from .connection_log import ConnectionLog
from .outcome import hidden_error
from .websocket import WebSocket, is_about


class QuietDisconnect:
    """A context around the block of a WebSocket: it logs this client's disconnect and ends it.

    Servers log what leaves an application as an error, and a client that leaves is none. The end of
    another connection, a client's for instance, is an error of the handler and goes on. An error
    that the handler was handling when it met the disconnect would vanish with it, so it is logged.
    """

    __slots__ = ("_ws",)

    def __init__(self, ws: WebSocket) -> None:
        self._ws = ws

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _: type[BaseException] | None, exc: BaseException | None, __: TracebackType | None
    ) -> bool:
        if not isinstance(exc, WebSocketDisconnected) or not is_about(exc, self._ws):
            return False
        hidden = hidden_error(exc, partial(is_about, ws=self._ws), is_cancellation)
        if hidden is None:
            ConnectionLog(self._ws.scope).debug("%s", exc)
        else:
            ConnectionLog(self._ws.scope).warning(
                "a handler had this error when it met the disconnect, which hides it: %s",
                exc,
                # Not `exc`, whose traceback shows only the server's exception if it has one.
                exc_info=hidden,
            )
        return True
