"""What a client asks a server for, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wsnursery._handshake import check_headers, is_token
from wsnursery._types import Headers

_SET_BY_THE_HANDSHAKE = {b"host", b"connection", b"upgrade"}
"""Headers that trio-websocket writes itself; a second one would make the request invalid."""


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """The opening handshake of a client (RFC 6455 §4.1)."""

    host: str
    """The value of the ``Host`` header."""
    resource: str
    """Path and query."""
    subprotocols: list[str]
    headers: list[tuple[bytes, bytes]]


def check_request_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return a client's headers with lower-case names, or refuse them.

    Raises:
        TypeError: They are not pairs of bytes.
        ValueError: A name or a value may not be sent, or the handshake sets it.
    """
    pairs = list(headers)
    for pair in pairs:
        if _is_set_by_the_handshake(pair):
            raise ValueError(
                f"the handshake sets the header {pair[0]!r} itself: leave it out, and name "
                "subprotocols in subprotocols=[...]"
            )
    return check_headers(pairs)


def _is_set_by_the_handshake(pair: Any) -> bool:
    # What is not a pair of bytes is refused afterwards, by `check_headers`.
    name = pair[0].lower() if isinstance(pair, tuple) and isinstance(pair[0], bytes) else b""
    return name in _SET_BY_THE_HANDSHAKE or name.startswith(b"sec-websocket-")


def check_offer(subprotocols: Iterable[str]) -> list[str]:
    """Return the subprotocols that a client offers, or refuse them.

    Raises:
        TypeError: They are one string instead of a list of strings.
        ValueError: One is not a token, or is there twice (RFC 6455 §4.1).
    """
    if isinstance(subprotocols, str):
        raise TypeError(
            f"subprotocols must be a list of names, got a string: write [{subprotocols!r}]"
        )
    offered = list(subprotocols)
    for name in offered:
        if not is_token(name):
            raise ValueError(
                f"a subprotocol must be a token, got {name!r}: use letters, digits and '-'"
            )
    if len(set(offered)) < len(offered):
        raise ValueError(
            f"the subprotocols must differ from one another, got {offered!r}: offer each once"
        )
    return offered
