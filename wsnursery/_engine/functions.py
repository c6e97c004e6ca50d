"""The functions that users hand in: their names, and what is said of those that cannot work."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from wsnursery._options import Options


def shown_name(function: Any) -> str:
    """The name of a function or a coroutine, as it is shown; a string stays what it is."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__qualname__", function))


def check_handler(handler: Any) -> None:
    """Refuse what cannot handle a connection, where it is decorated.

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
    try:
        signature = inspect.signature(handler)
    except ValueError:  # some functions in C have none
        return
    try:
        signature.bind(None)
    except TypeError:
        raise TypeError(
            f"a handler must take one argument, the WebSocket, but {name} takes {signature}: give "
            "the others with functools.partial, and make a handler of a bound method"
        ) from None


def called(handler: Callable[[Any], Any], ws: object) -> Awaitable[object]:
    """Call a handler with a WebSocket, and give what is to be awaited.

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
