"""WebSockets in Starlette and FastAPI: `endpoint` and `open_websocket`.

It needs the extra ``wsnursery[starlette]``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, overload

try:
    from starlette import exceptions, websockets
except ImportError as _missing:
    raise ImportError(
        "wsnursery.starlette needs Starlette: pip install 'wsnursery[starlette]'"
    ) from _missing

from ._codes import CloseCode, check_close
from ._engine.events import Close
from ._engine.functions import shown_name
from ._engine.meaning import Interpreter, Meaning
from ._engine.quiet_disconnect import QuietDisconnect
from ._engine.states import State
from ._engine.websocket import WebSocket
from ._errors import LocalProtocolError
from ._options import Options, check_options
from ._types import Scope
from .asgi._open import open_interpreted

__all__ = ["endpoint", "open_websocket"]


AnyHandler = Callable[..., Awaitable[object]]
Endpoint = Callable[..., Coroutine[Any, Any, None]]


@overload
def endpoint(handler: AnyHandler, /, *, options: Options = ...) -> Endpoint: ...


@overload
def endpoint(*, options: Options = ...) -> Callable[[AnyHandler], Endpoint]: ...


def endpoint(
    handler: AnyHandler | None = None, /, *, options: Options = Options()
) -> Endpoint | Callable[[AnyHandler], Endpoint]:
    """Turn a handler into an endpoint of Starlette or FastAPI.

    Use it under the framework's decorator, with or without options::

        @app.websocket("/rooms/{room}")
        @endpoint
        async def chat(ws: WebSocket, room: str, user: Annotated[User, Depends(find_user)]) -> None:
            await ws.accept()
            async for message in ws:
                await ws.send(message)

    FastAPI fills in the other parameters as in every endpoint: path and query parameters, cookies,
    headers, dependencies. A disconnect ends the handler as with `wsnursery.websocket_app`: it is
    logged at debug level, and is not raised to the framework.

    Args:
        handler: An async function with a parameter of the type `wsnursery.WebSocket`. It may also
            have a parameter of the type `starlette.websockets.WebSocket`. `open_websocket` says
            what that object can still do.
        options: The limits and the mode of every connection.

    Raises:
        TypeError: The handler is not an async function, or has no such parameter, or the options
            are something else.
    """
    check_options(options)

    def decorate(handler: AnyHandler) -> Endpoint:
        own, starlettes, signature = _parameters(handler)
        whole = inspect.signature(handler)

        @functools.wraps(handler)
        async def run(*args: Any, **kwargs: Any) -> None:
            values = dict(signature.bind(*args, **kwargs).arguments)
            ws = open_websocket(values[starlettes], options=options)
            values[own] = ws
            call = inspect.BoundArguments(whole, values)
            with QuietDisconnect(ws):
                async with ws:
                    await handler(*call.args, **call.kwargs)

        # FastAPI reads from the signature which parameters it must fill in.
        run.__signature__ = signature  # type: ignore[attr-defined]
        return run

    return decorate if handler is None else decorate(handler)


def _parameters(handler: AnyHandler) -> tuple[str, str, inspect.Signature]:
    """Return the parameter for our WebSocket, the one for Starlette's, and the new signature.

    The framework fills in the parameters of the new signature. If the handler has no parameter for
    Starlette's WebSocket, the framework passes it in place of ours.
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
    starlettes = next((name for name, found in types.items() if _is_starlettes(found)), own)
    filled_in = [
        each.replace(annotation=websockets.WebSocket) if each.name == own else each
        for each in parameters
        if each.name != own or starlettes == own
    ]
    return own, starlettes, signature.replace(parameters=filled_in)


def _resolved(annotation: Any, handler: AnyHandler) -> Any:
    """Resolve an annotation, which may be a string.

    Resolve it here, because older releases of FastAPI look for its names in the module of the
    wrapper, which is this one.
    """
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(handler, "__globals__", {}))  # noqa: S307 - the user's own annotation
    except Exception:  # noqa: BLE001 - a name that only type checkers know
        return annotation


def _is_starlettes(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, websockets.WebSocket)


def open_websocket(websocket: websockets.WebSocket, *, options: Options = Options()) -> WebSocket:
    """Take over a WebSocket from Starlette, and run it in its own task group.

    Use it as an async context manager, once::

        @app.websocket("/")
        async def endpoint(websocket: fastapi.WebSocket, user: Annotated[User, Depends(find_user)]):
            with suppress(WebSocketDisconnected):
                async with open_websocket(websocket) as ws:
                    await ws.accept()
                    async for message in ws:
                        await ws.send(message)

    It is `wsnursery.open_websocket` with the server's own ``receive`` and ``send``. Do not pass the
    methods ``websocket.receive`` and ``websocket.send`` to `wsnursery.open_websocket`, because they
    hide the server's exception, and refuse the calls that drain Hypercorn's queue. (ASGI allows
    both.)

    Args:
        websocket: The WebSocket of the endpoint, which must be unused. Its attributes
            (``headers``, ``path_params``, ``session``) keep working. Its methods that send or
            receive raise from now on.
        options: The limits and the mode.

    The framework's own exceptions mean here what they mean there, in the body, in a child and in a
    dependency. ``WebSocketException(code, reason)`` closes with that code (before `accept` it
    denies with 403), and ``HTTPException(status)`` before `accept` denies with that status.
    From a child they leave the block bare.

    Raises:
        LocalProtocolError: The endpoint has already used ``websocket``. (Raised by the call.)
        WebSocketDisconnected: As from `wsnursery.open_websocket`. If it leaves the endpoint,
            Starlette treats it as an error, and the server logs it.
    """
    unused = websockets.WebSocketState.CONNECTING
    if {websocket.client_state, websocket.application_state} != {unused}:
        raise LocalProtocolError(
            "open_websocket() must be the first to use the WebSocket of the endpoint: leave out "
            "its accept(), and await the accept() of the WebSocket that open_websocket() gives you"
        )
    websocket.client_state = websockets.WebSocketState.DISCONNECTED
    websocket.application_state = websockets.WebSocketState.DISCONNECTED
    # Use private attributes, because Starlette has no public names for the server's callables.
    receive, send = websocket._receive, websocket._send  # pyright: ignore[reportPrivateUsage]
    ws = open_interpreted(websocket.scope, receive, send, options, _interpreter(websocket.scope))

    async def close(*_: Any, **__: Any) -> None:
        """Close once, as the framework does after a `WebSocketException`."""
        if ws.state not in ("closed", "closing", "rejected"):
            raise LocalProtocolError(
                "open_websocket() has taken this WebSocket over: call close() on the one that you "
                "got from it"
            )

    websocket.close = close  # type: ignore[method-assign]
    return ws


def _interpreter(scope: Scope) -> Interpreter:
    """What the framework's exceptions mean on a connection."""

    def interpret(failure: BaseException, state: State) -> Meaning | None:
        if isinstance(failure, exceptions.WebSocketException):
            try:
                check_close(failure.code, failure.reason)
            except (LocalProtocolError, TypeError):
                return None  # the server would refuse it, too
            return Meaning(failure, Close(failure.code, failure.reason), failure)
        if not isinstance(failure, exceptions.HTTPException):
            return None
        if state not in (State.CONNECTING, State.REQUESTED):
            misuse = LocalProtocolError(
                "HTTPException must be raised before the handshake is answered: raise "
                "WebSocketException(code, reason) after accept()"
            )
            misuse.__cause__ = failure
            return Meaning(failure, Close(CloseCode.INTERNAL_ERROR, ""), misuse)
        if "websocket.http.response" in (scope.get("extensions") or ()):
            return Meaning(failure, None, failure)  # the framework makes the response
        # Without the extension it would try to all the same, so it gets an exception with which it
        # only closes what has been denied.
        denied = exceptions.WebSocketException(CloseCode.POLICY_VIOLATION, failure.detail)
        denied.__cause__ = failure
        return Meaning(failure, Close(CloseCode.POLICY_VIOLATION, ""), denied)

    return interpret
