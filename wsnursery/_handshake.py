"""What the answer to a handshake may contain, and which origins are allowed. Pure checks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

from ._types import Headers, Scope

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""The name of a header or of a subprotocol (RFC 9110 §5.6.2)."""

_VALUE = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
"""A header's value (RFC 9110 §5.5): no control characters, no white space around it."""

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
"""The ports of URLs and origins that name none (RFC 9110 §4.2, RFC 6455 §3)."""


def is_token(name: object) -> bool:
    """Whether a string is a token (RFC 9110 §5.6.2), which names of subprotocols must be."""
    # "?" replaces what is not ASCII, and is not allowed in a token either.
    return isinstance(name, str) and bool(_TOKEN.fullmatch(name.encode("ascii", "replace")))


def check_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers with lower-case names, or refuse them.

    Raises:
        TypeError: They are not pairs of bytes.
        ValueError: A name or a value may not be sent, or names the subprotocol.
    """
    return [_check_header(header) for header in headers]


def _check_header(header: Any) -> tuple[bytes, bytes]:
    try:
        name, value = header
    except (TypeError, ValueError):
        name = value = None
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise TypeError(
            f"a header must be a pair of bytes, got {header!r}: write it as (b'x-id', b'1')"
        )
    if not _TOKEN.fullmatch(name):
        raise ValueError(
            f"the name of a header must be a token, got {name!r}: use letters, digits and '-'"
        )
    if value and not _VALUE.fullmatch(value):
        raise ValueError(
            f"the value of header {name!r} must be without control characters and outer white "
            f"space, got {value!r}: remove them"
        )
    if name.lower() == b"sec-websocket-protocol":
        raise ValueError("choose the subprotocol with accept(subprotocol=...), not with a header")
    return name.lower(), value


def check_subprotocol(subprotocol: str | None, offered: Collection[str]) -> None:
    """Refuse a subprotocol that the client did not offer (RFC 6455 §4.2.2).

    Raises:
        ValueError: It was not offered, or cannot stand in a header.
    """
    if subprotocol is None:
        return
    if subprotocol not in offered:
        raise ValueError(
            f"the subprotocol must be one that the client offered, got {subprotocol!r}: "
            f"choose one of {list(offered)!r} or None"
        )
    if not is_token(subprotocol):
        raise ValueError(
            f"a subprotocol must be a token, got {subprotocol!r}: use letters, digits and '-'"
        )


def check_body(body: Any) -> None:
    """Refuse a response body that is not bytes.

    Raises:
        TypeError: It is of another type.
    """
    if not isinstance(body, bytes):
        raise TypeError(
            f"the body of a rejection must be bytes, got {type(body).__name__}: encode it"
        )


def check_status(status: Any) -> None:
    """Refuse an HTTP status that cannot deny a handshake.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is not from 300 to 599: 101 and 2xx would not deny it (RFC 6455 §4.1).
    """
    if not isinstance(status, int) or isinstance(status, bool):
        raise TypeError(
            f"an HTTP status must be an int, got {type(status).__name__}: write 403, for example"
        )
    if not 300 <= status <= 599:
        raise ValueError(
            f"the status of a rejection must be from 300 to 599, got {status}: use 403, for example"
        )


def parse_origin(origin: str) -> tuple[str, str, int | None]:
    """Split an origin (RFC 6454 §6.1) into scheme, host and port, its default port made explicit.

    Raises:
        ValueError: It is not of the form ``scheme://host`` or ``scheme://host:port``.
    """
    parts = urlsplit(origin)
    bare = not (parts.path or parts.query or parts.fragment or parts.username)
    # `urlsplit` drops tabs and line breaks, which would make another origin of this one.
    if not (parts.scheme and parts.hostname and bare and origin.isprintable()):
        raise ValueError(
            f"an origin must be scheme://host or scheme://host:port, got {origin!r}: "
            "write it without a path"
        )
    default = DEFAULT_PORTS.get(parts.scheme)
    return parts.scheme, parts.hostname, default if parts.port is None else parts.port


def origin_is_allowed(scope: Scope, allowed: Iterable[str] | None) -> bool:
    """Whether a handshake with this ``Origin`` may go on.

    Every browser sends exactly one (RFC 6455 §10.2); a request without one is not from a page and
    passes.
    """
    if allowed is None:
        return True
    origins = [value for name, value in scope.get("headers", ()) if name.lower() == b"origin"]
    if not origins:
        return True
    if len(origins) > 1:
        return False
    origin = origins[0].decode("latin-1")
    try:
        return parse_origin(origin) in map(parse_origin, allowed)
    except ValueError:
        # "null" (a sandboxed frame, a file) and everything else that is not scheme://host cannot
        # be in the list.
        return False
