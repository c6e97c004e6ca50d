"""The functions of users: their names, their signatures, and errors for those that cannot work."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from wsnursery._options import Options


def shown_name(function: Any) -> str:
    """The name of a function or a coroutine, for display; a string is returned unchanged."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", function))


def check_handler(handler: Any) -> None:
    """Refuse what cannot handle a connection, at the decorator.

    Raises:
        TypeError: It is not a function of one argument.
    """
    if isinstance(handler, Options):
        raise TypeError(
            "websocket_app() takes a handler, and options by name: "
            "write @websocket_app(options=Options(...))"
        )
    name = shown_name(handler)
    if isinstance(handler, Coroutine):
        handler.close()
        raise TypeError(
            f"a handler must be a function, got a coroutine: write {name}, not {name}()"
        )
    if isinstance(handler, type):
        raise TypeError(f"a handler must be a function, got a class: write {name}() with an object")
    if not callable(handler):
        raise TypeError(f"a handler must be an async function, got {type(handler).__name__}")
    if _yields(handler):
        raise TypeError(f"a handler must not yield: send with `await ws.send(...)` in {name}")
    signature = refusing_signature(handler, None)
    if signature is not None:
        raise TypeError(
            f"a handler must take one argument, the WebSocket, but {name} takes {signature}: give "
            "the others with functools.partial, and make a handler of a bound method"
        )


def refusing_signature(function: Any, *arguments: object) -> inspect.Signature | None:
    """The signature of a function that cannot be called with these arguments.

    Returns:
        `None` if it can be called with them, or if it is a function in C without a signature.
    """
    signature = _signature_of(function)
    try:
        if signature is not None:
            signature.bind(*arguments)
    except TypeError:
        return signature
    return None


def _signature_of(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except ValueError:  # some functions in C have no signature
        return None


def typed_signature(handler: Any, kind: type) -> inspect.Signature | None:
    """The signature of a handler. The first argument gets a type if it has none.

    Args:
        handler: A handler that `check_handler` has accepted.
        kind: The type for the first argument.

    Returns:
        `None` for a function in C without a signature.
    """
    signature = _signature_of(handler)
    if signature is None:
        return None
    first, *others = signature.parameters.values()
    if first.annotation is not first.empty:
        return signature
    return signature.replace(parameters=[first.replace(annotation=kind), *others])


def called(handler: Callable[[Any], Any], ws: object) -> Awaitable[object]:
    """Call a handler with a WebSocket, and return its awaitable.

    Raises:
        TypeError: It is not an async function.
    """
    made = handler(ws)
    if not isinstance(made, Awaitable):
        raise TypeError(
            f"a handler must be an async function, but {shown_name(handler)} returned "
            f"{type(made).__name__}: write `async def`"
        )
    return made  # pyright: ignore[reportUnknownVariableType]


def _yields(handler: Any) -> bool:
    return inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler)
