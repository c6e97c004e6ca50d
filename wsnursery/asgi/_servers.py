"""The quirks of servers, as data.

ASGI 2.4 says that ``send`` raises `OSError` once the client is gone. Older servers, and many
current ones, raise another exception or none. After an `OSError`, or after a disconnect event, this
table is not needed; it is for every other exception. Each row names the server and the versions in
which the exception was seen.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from wsnursery._types import Scope


@dataclass(frozen=True, slots=True)
class GoneSign:
    """An exception with which a server's ``send`` says that the peer is gone."""

    module: str
    """The module of the exception's class. It is compared by name, so nothing is imported."""
    name: str
    """The name of the exception's class, or the beginning of the name."""
    text: str
    """What the message contains; empty if the class suffices."""
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
    """Whether an exception of ``send`` means that the peer is gone."""
    return any(_matches(sign, exc) for sign in GONE_SIGNS)


def _matches(sign: GoneSign, exc: Exception) -> bool:
    cls = type(exc)
    return (
        cls.__module__ == sign.module
        and cls.__name__.startswith(sign.name)
        and sign.text in str(exc)
    )


SUBSTITUTE_CODES = 3900
"""Added to a close code of the standard to get its substitute in the range for private use: 4901
for 1001, 4911 for 1011."""


def substitute_code(code: int, exc: Exception) -> int | None:
    """The close code to send instead, if the server has refused a code; otherwise `None`.

    daphne (to 4.2, with autobahn to 26) takes only 1000 and codes from 3000 up, and after a refusal
    the connection would stay open. 1000 would report a normal end, and a reason could not tell the
    difference because daphne does not send reasons.
    """
    if type(exc) is Exception and str(exc).startswith(f"invalid close code {code} "):
        return code + SUBSTITUTE_CODES
    return None


@dataclass(frozen=True, slots=True)
class Traits:
    """How a server differs from the specification, and what must be done about it."""

    drains: bool = False
    """Call ``receive`` for a moment after the end, because Hypercorn's trio worker leaks a task and
    a descriptor if its queue stays full."""
    receive_blocks_close: bool = False
    """Cancel a pending ``receive`` before a close is sent, because the close would wait for it."""


ORDINARY = Traits()
GRANIAN_TRAITS = Traits(receive_blocks_close=True)
HYPERCORN = Traits(drains=True)


def traits_of(scope: Scope) -> Traits:
    """Recognise a server by its scope, because middleware may have wrapped the callables.

    granian (2.5 to 2.8) is the only server that announces ``http.response.pathsend`` on WebSockets.
    Hypercorn (0.16 to 0.18) announces ASGI 2.3, as other servers do, but runs only if imported.
    """
    if "http.response.pathsend" in (scope.get("extensions") or ()):
        return GRANIAN_TRAITS
    is_hypercorn = "hypercorn" in sys.modules and scope.get("asgi", {}).get("spec_version") == "2.3"
    return HYPERCORN if is_hypercorn else ORDINARY
