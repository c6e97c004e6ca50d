"""Checks of the answer to a handshake, and of origins. They have no side effects."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from ._types import Headers, Scope

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""The name of a header or of a subprotocol (RFC 9110 §5.6.2)."""

_VALUE = re.compile(rb"[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?")
"""A header's value (RFC 9110 §5.5): no control characters and no outer white space."""

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
"""The ports of URLs and origins that name none (RFC 9110 §4.2, RFC 6455 §3)."""


Origin: TypeAlias = tuple[str, str, int | None]
"""Scheme, host and port."""

SAME = "same"
"""The entry of ``Options.allowed_origins`` for the host to which the request goes."""

_ANY_SUBDOMAIN = "*."
"""The prefix of a host in ``Options.allowed_origins`` that allows its subdomains."""

_HOST = re.compile(r"(?!\.)[0-9a-z_~.-]+")
"""A host in an origin: browsers write it in lower-case ASCII. IPv6 addresses have colons."""

_UPGRADE_REQUIRED = 426

_OF_THE_HANDSHAKE = {
    b"sec-websocket-accept",
    b"sec-websocket-extensions",
    b"sec-websocket-key",
    b"connection",
    b"upgrade",
    b"content-length",
    b"transfer-encoding",
}
"""Headers that the server writes, or that would break the connection or its framing."""


def is_token(name: object) -> bool:
    """Return whether a string is a token (RFC 9110 §5.6.2), as subprotocols must be."""
    # "?" replaces non-ASCII characters. It is safe, because "?" is not allowed in a token either.
    return isinstance(name, str) and bool(_TOKEN.fullmatch(name.encode("ascii", "replace")))


def check_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers with lower-case names, or refuse them.

    Raises:
        TypeError: They are not pairs of bytes.
        ValueError: A name or a value may not be sent, or names the subprotocol.
    """
    return [_check_header(header) for header in headers]


def check_accept_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers of an accepted handshake, or refuse them as `check_headers` does.

    Raises:
        TypeError: They are not pairs of bytes.
        ValueError: One may not be sent, or the server writes it (RFC 6455 §4.2.2, RFC 9110 §8.6).
    """
    checked = check_headers(headers)
    for name, _ in checked:
        if name in _OF_THE_HANDSHAKE or name == b"sec-websocket-version":
            raise _not_yours(name)
    return checked


def check_reject_headers(headers: Headers, status: int, body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of a denial, or refuse them as `check_headers` does.

    ``upgrade`` and ``connection`` belong to status 426 (RFC 9110 §15.5.22); ``content-length`` must
    be true.

    Raises:
        TypeError: They are not pairs of bytes.
        ValueError: One may not be sent, or the server writes it.
    """
    checked = check_headers(headers)
    for name, value in checked:
        if name == b"content-length":
            if value != b"%d" % len(body):
                raise ValueError(
                    f"content-length must be {len(body)}, the length of the body, got {value!r}: "
                    "leave it out, because the server writes it"
                )
        elif name in _OF_THE_HANDSHAKE and not (
            status == _UPGRADE_REQUIRED and name in (b"upgrade", b"connection")
        ):
            raise _not_yours(name)
    return checked


def _not_yours(name: bytes) -> ValueError:
    return ValueError(
        f"header {name!r} belongs to the handshake or the connection: leave it out, because the "
        "server writes it"
    )


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
        ValueError: It was not offered, or a header cannot contain it.
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
        TypeError: It is not bytes.
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


def parse_origin(origin: str) -> Origin:
    """Split an origin (RFC 6454 §6.1) into scheme, host and port, its default port made explicit.

    Raises:
        ValueError: It is not of the form ``scheme://host`` or ``scheme://host:port``.
    """
    parts = urlsplit(origin)
    host = parts.hostname or ""
    # urlsplit drops tabs, line breaks and empty parts. Refuse them, because the rest would be a
    # different origin.
    bare = "@" not in parts.netloc and origin.lower() == f"{parts.scheme}://{parts.netloc}".lower()
    if not (bare and parts.scheme and (_HOST.fullmatch(host) or ":" in host)):
        raise ValueError(
            f"an origin must be scheme://host or scheme://host:port, got {origin!r}: "
            "write it without a path and without a user"
        )
    default = DEFAULT_PORTS.get(parts.scheme)
    return parts.scheme, host, default if parts.port is None else parts.port


def check_allowed_origin(allowed: str) -> None:
    """Refuse an entry of ``Options.allowed_origins`` that no page's origin can ever match.

    Raises:
        ValueError: It can never match. The message shows the right spelling.
    """
    if allowed == SAME:
        return
    if allowed == "*":
        raise ValueError(
            "an allowed origin must be the address of a page, got '*': leave allowed_origins at "
            "None to allow every page"
        )
    start, separator, rest = allowed.partition("://")
    if start.lower() in ("ws", "wss"):
        right = f"http{start.lower()[2:]}://{rest}"
        raise ValueError(
            f"an allowed origin must be the address of a page, got {allowed!r}: write {right!r}"
        )
    if rest.startswith("."):
        raise ValueError(
            f"the host of an allowed origin must not begin with a dot, got {allowed!r}: write "
            f"'{start}://*{rest}' for all subdomains"
        )
    plain = start + separator + rest.removeprefix(_ANY_SUBDOMAIN)
    if "*" in plain:
        raise ValueError(
            f"'*' must stand for the subdomains of a host, as in 'https://*.example.org', got "
            f"{allowed!r}: list every other origin"
        )
    if not plain.isascii():
        raise ValueError(
            "the host of an allowed origin must be in ASCII, as browsers send it, got "
            f"{allowed!r}: write {_in_ascii(allowed)}"
        )
    parse_origin(plain)


def _in_ascii(origin: str) -> str:
    """Return the ASCII spelling of an origin with other letters (RFC 5891, "A-labels")."""
    try:
        # Python's codec follows the rules of 2003, which encode these letters differently.
        if not set(origin) & set("ßς\u200c\u200d"):
            scheme, _, host = origin.partition("://")
            return repr(f"{scheme}://{host.encode('idna').decode()}")
    except UnicodeError:
        pass
    return "each label as the browser shows it in location.origin ('xn--...')"


def origin_is_allowed(scope: Scope, allowed: Iterable[str] | None) -> bool:
    """Return whether a handshake with this ``Origin`` is allowed.

    Every browser sends exactly one (RFC 6455 §10.2). A request without one does not come from a
    page, and passes.
    """
    if allowed is None:
        return True
    origins = _values(scope, b"origin")
    if not origins:
        return True
    if len(origins) > 1:
        return False
    try:
        origin = parse_origin(origins[0].decode("latin-1"))
    except ValueError:
        # "null" (a sandboxed frame, a file) and other text without scheme://host is never listed.
        return False
    return any(_matches(origin, each, scope) for each in allowed)


def _matches(origin: Origin, allowed: str, scope: Scope) -> bool:
    if allowed == SAME:
        return _is_own(origin, scope)
    scheme, host, port = origin
    if f"://{_ANY_SUBDOMAIN}" not in allowed:
        return origin == parse_origin(allowed)
    above = parse_origin(allowed.replace(_ANY_SUBDOMAIN, "", 1))
    return (scheme, port) == (above[0], above[2]) and host.endswith(f".{above[1]}")


def _is_own(origin: Origin, scope: Scope) -> bool:
    """Return whether a page came from the host to which this request goes.

    Behind a proxy that terminates TLS, the server does not know the page's scheme. If it does know
    that the request came over TLS, a page without TLS is another origin, which an attacker on the
    network may have forged.
    """
    scheme = origin[0]
    hosts = _values(scope, b"host")
    schemes = ("https",) if scope.get("scheme") in ("wss", "https") else ("http", "https")
    if len(hosts) != 1 or scheme not in schemes:
        return False
    try:
        return origin == parse_origin(f"{scheme}://{hosts[0].decode('latin-1')}")
    except ValueError:
        return False


def _values(scope: Scope, wanted: bytes) -> list[bytes]:
    return [value for name, value in scope.get("headers", ()) if name.lower() == wanted]
