"""WebSockets inside endpoints of Starlette and FastAPI: `open_websocket`.

For endpoints that need the framework's own `starlette.websockets.WebSocket`, as those with
dependencies of FastAPI do. A handler that does not is mounted as it is: ``WebSocketRoute(path,
websocket_app(handler))``. It needs the extra: ``pip install 'wsnursery[starlette]'``.
"""

from __future__ import annotations

try:
    from starlette import websockets
except ImportError as _missing:
    raise ImportError(
        "wsnursery.starlette needs Starlette: pip install 'wsnursery[starlette]'"
    ) from _missing

from ._engine.websocket import WebSocket
from ._errors import LocalProtocolError
from ._options import Options
from .asgi import _open as asgi

__all__ = ["open_websocket"]


def open_websocket(websocket: websockets.WebSocket, *, options: Options = Options()) -> WebSocket:
    """Take a WebSocket over from Starlette and run it in a task group of its own.

    Use it as an async context manager, once::

        @app.websocket("/")
        async def endpoint(websocket: fastapi.WebSocket, user: Annotated[User, Depends(find_user)]):
            with suppress(WebSocketDisconnected):
                async with open_websocket(websocket) as ws:
                    await ws.accept()
                    async for message in ws:
                        await ws.send(message)

    It is `wsnursery.open_websocket` on the server's own ``receive`` and ``send``. The methods
    ``websocket.receive`` and ``websocket.send`` must not be given to that one: they hide the
    server's exception, and refuse the calls that free what Hypercorn has queued (ASGI allows both).

    Args:
        websocket: The one that the endpoint was given, before anything was done with it. It still
            answers questions (``headers``, ``path_params``, ``session``); its methods that send or
            receive raise from now on.
        options: Limits and mode.

    Raises:
        LocalProtocolError: The endpoint has used ``websocket`` already. (At the call.)
        WebSocketDisconnected: As from `wsnursery.open_websocket`. Starlette takes it for an error
            when it leaves the endpoint, and the server logs it.
    """
    unused = websockets.WebSocketState.CONNECTING
    if {websocket.client_state, websocket.application_state} != {unused}:
        raise LocalProtocolError(
            "open_websocket() must be the first to use the WebSocket of the endpoint: leave out "
            "its accept(), and await the accept() of the one that you get"
        )
    websocket.client_state = websockets.WebSocketState.DISCONNECTED
    websocket.application_state = websockets.WebSocketState.DISCONNECTED
    # The server's own, for which Starlette has no public name.
    receive, send = websocket._receive, websocket._send  # pyright: ignore[reportPrivateUsage]
    return asgi.open_websocket(websocket.scope, receive, send, options=options)
