"""Treats the disconnect that ends a handler as a normal end."""

from __future__ import annotations

from functools import partial
from types import TracebackType

from wsnursery._backend.cancellation import is_cancellation
from wsnursery._errors import WebSocketDisconnected

from .connection_log import ConnectionLog
from .outcome import hidden_error
from .websocket import WebSocket, is_about


class QuietDisconnect:
    """A context around the block of a WebSocket, which logs this client's disconnect and ends it.

    Servers log every exception that leaves an application as an error, but a client that leaves is
    not an error. The end of another connection is an error of the handler, and leaves. An error
    that the handler was handling when the disconnect was raised would be lost, so it is logged.
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
                # Do not log `exc`: if the server raised, its traceback shows only that exception.
                exc_info=hidden,
            )
        return True
