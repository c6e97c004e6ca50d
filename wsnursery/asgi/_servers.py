"""What the servers do, as data: the only place that knows their names.

ASGI 2.4 says that ``send`` raises `OSError` once the client is gone. Before it, and on many servers
still, something else is raised or nothing at all. `OSError` and a disconnect that has been heard
decide without this table; it is for what is left. Each row names the server and the versions in
which it was seen.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from wsnursery._types import Scope


@dataclass(frozen=True, slots=True)
class GoneSign:
    """An exception of a raw send that means that the peer is gone."""

    module: str
    """The exception class's module, or the package it is in. Nothing is imported to compare."""
    name: str
    """The exception class's name, or its beginning."""
    text: str
    """What the message contains; empty where the class is enough."""
    seen: str
    """Server and versions."""


GONE_SIGNS = (
    GoneSign(
        "builtins",
        "RuntimeError",
        "after sending 'websocket.close'",
        "uvicorn websockets (legacy) to 0.54; sansio and wsproto after a close by the server",
    ),
    GoneSign("builtins", "RuntimeError", "ASGI flow error: Transport", "granian before 2.8.4"),
    GoneSign("websockets.exceptions", "ConnectionClosed", "", "uvicorn websockets before 0.27"),
    GoneSign("wsproto.utilities", "LocalProtocolError", "", "uvicorn wsproto before 0.27"),
    GoneSign("autobahn.exception", "Disconnected", "", "daphne 4.2"),
)


def means_gone(exc: Exception) -> bool:
    """Whether an exception is one of the signs."""
    return any(_matches(sign, exc) for sign in GONE_SIGNS)


def _matches(sign: GoneSign, exc: Exception) -> bool:
    cls = type(exc)
    return (
        cls.__module__ == sign.module
        and cls.__name__.startswith(sign.name)
        and sign.text in str(exc)
    )


SUBSTITUTE_CODES = 3900
"""From a code of the standard to the one that stands for it, in the range for private use: 4901 for
1001, 4911 for 1011."""


def substitute_code(code: int, exc: Exception) -> int | None:
    """What to close with instead of a code, if the server says that it refuses this one.

    daphne (to 4.2, autobahn to 26) takes 1000 and what is from 3000 up. After a refusal the
    connection would stay open. 1000 would say that all is well, and daphne sends no reason either.
    """
    if type(exc) is Exception and str(exc).startswith(f"invalid close code {code} "):
        return code + SUBSTITUTE_CODES
    return None


@dataclass(frozen=True, slots=True)
class Traits:
    """What must be done, or avoided, on a server."""

    drains: bool = False
    """Call ``receive`` for a moment after the end: Hypercorn's trio worker leaks a task and a
    descriptor when its queue stays full."""
    receive_blocks_close: bool = False
    """``send`` of a close waits for a pending ``receive``, which must be cancelled first."""


ORDINARY = Traits()
GRANIAN = Traits(receive_blocks_close=True)
HYPERCORN = Traits(drains=True)


def traits_of(scope: Scope) -> Traits:
    """Recognise a server by its scope: the callables may be wrapped by middleware.

    granian (2.5 to 2.8) is the only server that announces ``http.response.pathsend`` on WebSockets.
    Hypercorn (0.16 to 0.18) announces ASGI 2.3, and is there only where it has been imported.
    """
    if "http.response.pathsend" in (scope.get("extensions") or ()):
        return GRANIAN
    is_hypercorn = "hypercorn" in sys.modules and scope.get("asgi", {}).get("spec_version") == "2.3"
    return HYPERCORN if is_hypercorn else ORDINARY
