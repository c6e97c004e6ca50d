"""The ASGI extension through which a server that knows this library finds its WebSockets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from wsnursery._types import Scope, Send

if TYPE_CHECKING:
    from wsnursery._engine.websocket import WebSocket

EXTENSION = "wsnursery"
"""The key in ``scope["extensions"]`` (ASGI spec, "Extensions")."""


@final
class ServerExtension:
    """What the server and this library share about one connection.

    The server makes it and puts it into the scope, because a scope passes through every middleware
    and every framework, while ``receive`` and ``send`` are often wrapped there.

    Args:
        send: The server's own ``send``, which middleware may hide.
    """

    __slots__ = ("closed_by_server", "send", "websocket")

    def __init__(self, send: Send) -> None:
        self.send: Send = send
        self.websocket: WebSocket | None = None
        """The WebSocket of this library; `None` until there is one, and for handlers without
        one."""
        self.closed_by_server: bool = False
        """The server closed the connection before a WebSocket was opened."""


def extension_of(scope: Scope) -> ServerExtension | None:
    """Find the extension in a scope; `None` if the server does not know this library."""
    extensions: Mapping[str, Any] = scope.get("extensions") or {}
    extension = extensions.get(EXTENSION)
    return extension if isinstance(extension, ServerExtension) else None
