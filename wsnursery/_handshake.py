"""What may stand in a handshake's answer, and which origins may ask for it. Pure checks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

from ._types import Headers, Scope

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A header's name (RFC 9110 §5.6.2)."""

_VALUE = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
"""A header's value (RFC 9110 §5.5): no control characters, no white space around it."""

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


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
        raise TypeError(f"a header is a pair of bytes, such as (b'x-id', b'1'), not {header!r}")
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"header name {name!r} is not a token: use letters, digits and '-'")
    if value and not _VALUE.fullmatch(value):
        raise ValueError(
            f"the value of header {name!r} holds a control character or outer white space: "
            "remove it"
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
            f"subprotocol {subprotocol!r} was not offered by the client: "
            f"choose one of {list(offered)!r} or None"
        )
    if not _TOKEN.fullmatch(subprotocol.encode(errors="replace")):
        raise ValueError(f"subprotocol {subprotocol!r} is not a token: it cannot be sent")


def check_body(body: Any) -> None:
    """Refuse a response body that is not bytes.

    Raises:
        TypeError: It is of another type.
    """
    if not isinstance(body, bytes):
        raise TypeError(f"the body of a rejection is bytes, not {type(body).__name__}")


def check_status(status: Any) -> None:
    """Refuse an HTTP status that cannot deny a handshake.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is not from 300 to 599: 101 and 2xx would not deny it (RFC 6455 §4.1).
    """
    if not isinstance(status, int) or isinstance(status, bool):
        raise TypeError(f"an HTTP status is an int, such as 403, not {type(status).__name__}")
    if not 300 <= status <= 599:
        raise ValueError(f"status {status} does not deny a handshake: use one from 300 to 599")


def parse_origin(origin: str) -> tuple[str, str, int | None]:
    """Split an origin (RFC 6454 §6.1) into scheme, host and port, its default port made explicit.

    Raises:
        ValueError: It is not of the form ``scheme://host`` or ``scheme://host:port``.
    """
    parts = urlsplit(origin)
    bare = not (parts.path or parts.query or parts.fragment or parts.username)
    # urlsplit drops tabs and line breaks: what it leaves would be another origin.
    if not (parts.scheme and parts.hostname and bare and origin.isprintable()):
        raise ValueError(
            f"{origin!r} is not an origin: write scheme://host or scheme://host:port, "
            "without a path"
        )
    default = _DEFAULT_PORTS.get(parts.scheme)
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
        # "null" (a sandboxed frame, a file) and whatever else is not scheme://host is nobody's.
        return False
