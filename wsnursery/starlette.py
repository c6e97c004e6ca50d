"""WebSockets in Starlette and FastAPI: `endpoint` and `open_websocket`.

It needs the extra: ``pip install 'wsnursery[starlette]'``.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, overload

try:
    from starlette import websockets
except ImportError as _missing:
    raise ImportError(
        "wsnursery.starlette needs Starlette: pip install 'wsnursery[starlette]'"
    ) from _missing

from ._engine.functions import shown_name
from ._engine.websocket import WebSocket, is_about
from ._errors import LocalProtocolError, WebSocketDisconnected
from ._options import Options
from .asgi._open import open_websocket as open_asgi

__all__ = ["endpoint", "open_websocket"]

_logger = logging.getLogger("wsnursery")

Handler = Callable[..., Awaitable[object]]
Endpoint = Callable[..., Coroutine[Any, Any, None]]


@overload
def endpoint(handler: Handler, /, *, options: Options = ...) -> Endpoint: ...


@overload
def endpoint(*, options: Options = ...) -> Callable[[Handler], Endpoint]: ...


def endpoint(
    handler: Handler | None = None, /, *, options: Options = Options()
) -> Endpoint | Callable[[Handler], Endpoint]:
    """Make an endpoint of Starlette or FastAPI of a handler.

    Use it under the framework's decorator, bare or with options::

        @app.websocket("/rooms/{room}")
        @endpoint
        async def chat(ws: WebSocket, room: str, user: Annotated[User, Depends(find_user)]) -> None:
            await ws.accept()
            async for message in ws:
                await ws.send(message)

    FastAPI fills the other parameters as in every endpoint: path and query parameters, cookies,
    headers, dependencies. A disconnect ends the handler as with `wsnursery.websocket_app`: it is
    logged at debug level and goes no further.

    Args:
        handler: An async function with a parameter of the type `wsnursery.WebSocket`. It may have
            one of Starlette's `starlette.websockets.WebSocket`, too; see `open_websocket` for what
            that one can still do.
        options: Limits and mode of every connection.

    Raises:
        TypeError: The handler is not an async function, or has no such parameter.
    """

    def decorate(handler: Handler) -> Endpoint:
        own, carrier, signature = _parameters(handler)
        whole = inspect.signature(handler)

        @functools.wraps(handler)
        async def run(*args: Any, **kwargs: Any) -> None:
            values = dict(signature.bind(*args, **kwargs).arguments)
            ws = open_websocket(values[carrier], options=options)
            values[own] = ws
            call = inspect.BoundArguments(whole, values)
            try:
                async with ws:
                    await handler(*call.args, **call.kwargs)
            except WebSocketDisconnected as exc:
                if not is_about(exc, ws):
                    raise
                _logger.debug("%s", exc)

        # FastAPI reads what to fill in from the signature.
        run.__signature__ = signature  # type: ignore[attr-defined]
        return run

    return decorate if handler is None else decorate(handler)


def _parameters(handler: Handler) -> tuple[str, str, inspect.Signature]:
    """Which parameter gets our WebSocket, which one Starlette's, and what the framework fills in.

    Without a parameter for Starlette's, ours stands for it in the signature.
    """
    if not inspect.iscoroutinefunction(handler):
        raise TypeError(
            f"endpoint() needs an async function, got {shown_name(handler)}: "
            "write `async def` under it, and no other decorator between"
        )
    signature = inspect.signature(handler)
    parameters = [
        each.replace(annotation=_resolved(each.annotation, handler))
        for each in signature.parameters.values()
    ]
    types = {each.name: each.annotation for each in parameters}
    own = next((name for name, found in types.items() if found is WebSocket), None)
    if own is None:
        raise TypeError(
            f"{shown_name(handler)} must have a parameter of the type wsnursery.WebSocket, such as "
            f"`ws: WebSocket`, got {signature}: import the class from wsnursery, because that of "
            "Starlette and FastAPI has the same name"
        )
    carrier = next((name for name, found in types.items() if _is_starlettes(found)), own)
    filled_in = [
        each.replace(annotation=websockets.WebSocket) if each.name == own else each
        for each in parameters
        if each.name != own or carrier == own
    ]
    return own, carrier, signature.replace(parameters=filled_in)


def _resolved(annotation: Any, handler: Handler) -> Any:
    """What an annotation means that may be a string.

    Older releases of FastAPI look for its names in this module, where the wrapper is.
    """
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(handler, "__globals__", {}))  # noqa: S307 - it is the user's own
    except Exception:  # noqa: BLE001 - a name for type checkers alone: not ours
        return annotation


def _is_starlettes(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, websockets.WebSocket)


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
    return open_asgi(websocket.scope, receive, send, options=options)
