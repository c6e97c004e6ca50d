"""What a server that knows this library and a WebSocket tell each other, through the scope."""

# pyright: reportImportCycles=false

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from wsnursery._types import Scope, Send

if TYPE_CHECKING:
    from wsnursery._engine.websocket import WebSocket

EXTENSION = "wsnursery"
"""The key in ``scope["extensions"]`` (ASGI spec, "Extensions")."""


@final
class Link:
    """One ASGI call for a WebSocket.

    The server makes it and puts it into the scope, so that it is found below any middleware and any
    framework.

    Args:
        send: The server's own ``send``, which middleware may hide.
    """

    __slots__ = ("closed_by_server", "send", "websocket")

    def __init__(self, send: Send) -> None:
        self.send: Send = send
        self.websocket: WebSocket | None = None
        """The WebSocket that was opened for it; `None` for a handler written without."""
        self.closed_by_server: bool = False
        """The server has closed it before a WebSocket was opened."""


def link_of(scope: Scope) -> Link | None:
    """The link in a scope, if the server has put one there."""
    extensions: Mapping[str, Any] = scope.get("extensions") or {}
    link = extensions.get(EXTENSION)
    return link if isinstance(link, Link) else None
