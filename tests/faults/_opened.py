"""What the fault tests share."""

from typing import Any

from wsnursery import Options, WebSocket, open_websocket
from wsnursery.testing import Server


def opened(server: Server, **options: Any) -> WebSocket:
    """The block over an in-memory server."""
    return open_websocket(server.scope, server.receive, server.send, options=Options(**options))


def bare(error: BaseException) -> bool:
    """Exactly one exception, no group."""
    return not isinstance(error, BaseExceptionGroup)
