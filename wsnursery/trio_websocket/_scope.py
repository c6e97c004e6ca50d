"""Handshakes of trio-websocket in the form of an ASGI scope, and the URLs that lead to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import trio
from trio_websocket import Endpoint, WebSocketConnection, WebSocketRequest

from wsnursery._handshake import check_headers
from wsnursery._types import Headers, Scope

_SET_BY_THE_HANDSHAKE = {b"host", b"connection", b"upgrade"}

_TOKEN_CHARACTERS = frozenset(
    "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)
"""What a subprotocol's name is made of (RFC 6455 §4.1, RFC 9110 §5.6.2)."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a WebSocket URL (RFC 6455 §3) leads."""

    secure: bool
    host: str
    port: int
    resource: str
    """Path and query, as they stand in the request."""

    @property
    def scheme(self) -> str:
        """``ws`` or ``wss``."""
        return "wss" if self.secure else "ws"

    @property
    def host_header(self) -> str:
        """The host as the request names it: the port only where it is not the default one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


_DEFAULT_PORTS = {"ws": 80, "wss": 443}


def parse_url(url: str) -> Target:
    """Split a WebSocket URL.

    Raises:
        ValueError: It is not of the form ``ws://host:port/path?query``.
    """
    if not all("!" <= character <= "~" for character in url):
        raise ValueError(
            f"{url!r} holds a character that a URL must not: percent-encode it (urllib.parse.quote)"
        )
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is not a WebSocket URL: write ws://host/path or wss://host/path")
    if parts.fragment:
        raise ValueError(f"{url!r} has a fragment, which a WebSocket URL must not: drop it")
    if parts.username is not None:
        raise ValueError(
            "the URL holds a user name, which would not be sent: use headers=[(b'authorization', "
            "...)] instead"
        )
    query = f"?{parts.query}" if parts.query else ""
    return Target(
        parts.scheme == "wss",
        parts.hostname,
        _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port,
        (parts.path or "/") + query,
    )


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
    name = pair[0].lower() if isinstance(pair, tuple) and isinstance(pair[0], bytes) else b""
    return name in _SET_BY_THE_HANDSHAKE or name.startswith(b"sec-websocket-")


def check_offer(subprotocols: Iterable[str]) -> list[str]:
    """Return the subprotocols that a client offers, or refuse them.

    Raises:
        TypeError: They are one string instead of a list of them.
        ValueError: One is not a token, or is there twice (RFC 6455 §4.1).
    """
    if isinstance(subprotocols, str):
        raise TypeError(f"subprotocols is a list of names, such as [{subprotocols!r}]")
    offered = list(subprotocols)
    for name in offered:
        if not name or not _TOKEN_CHARACTERS.issuperset(name):
            raise ValueError(f"subprotocol {name!r} is not a token: use letters, digits and '-'")
    if len(set(offered)) < len(offered):
        raise ValueError(f"a subprotocol is offered twice in {offered!r}: offer each once")
    return offered


def client_scope(
    target: Target,
    subprotocols: list[str],
    connection: WebSocketConnection,
    stream: trio.abc.Stream,
) -> Scope:
    """The handshake that a client made; the headers are those of the answer."""
    return _scope(
        target.scheme,
        target.resource,
        list(connection.handshake_headers),
        subprotocols,
        client=_address(stream, "getsockname"),
        server=(target.host, target.port),
    )


def server_scope(request: WebSocketRequest, stream: trio.abc.Stream) -> Scope:
    """The handshake that a client asks a server for."""
    # The public `headers` lack the two that wsproto has read itself.
    host = request._event.host  # pyright: ignore[reportPrivateUsage]
    headers = [(b"host", host.encode("idna")), *request.headers]
    offered = list(request.proposed_subprotocols)
    if offered:
        headers.append((b"sec-websocket-protocol", ", ".join(offered).encode("latin-1")))
    return _scope(
        "wss" if is_secure(stream) else "ws",
        request.path,
        headers,
        offered,
        client=_address(stream, "getpeername"),
        server=_address(stream, "getsockname"),
    )


def connection_scope(connection: WebSocketConnection) -> Scope:
    """What is still known of the handshake of a connection that is open already."""
    remote, local = _endpoint(connection.remote), _endpoint(connection.local)
    is_client = connection.is_client
    endpoint = connection.local
    secure = isinstance(endpoint, Endpoint) and endpoint.is_ssl
    return _scope(
        "wss" if secure else "ws",
        connection.path or "/",
        list(connection.handshake_headers),
        [] if connection.subprotocol is None else [connection.subprotocol],
        client=local if is_client else remote,
        server=remote if is_client else local,
    )


def _scope(
    scheme: str,
    resource: str,
    headers: list[tuple[bytes, bytes]],
    subprotocols: list[str],
    *,
    client: tuple[str, int] | None,
    server: tuple[str, int] | None,
) -> Scope:
    path, _, query = resource.partition("?")
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": scheme,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": client,
        "server": server,
        "subprotocols": subprotocols,
        "extensions": {"websocket.http.response": {}},
    }


def is_secure(stream: trio.abc.Stream) -> bool:
    """Whether a stream is TLS."""
    return isinstance(stream, trio.SSLStream)


def _address(stream: trio.abc.Stream, which: str) -> tuple[str, int] | None:
    below = cast("Any", stream).transport_stream if is_secure(stream) else stream
    if not isinstance(below, trio.SocketStream):
        return None
    try:
        address = getattr(below.socket, which)()
    except OSError:
        return None  # the peer has gone already
    return address[0], address[1]


def _endpoint(endpoint: Endpoint | str) -> tuple[str, int] | None:
    return (str(endpoint.address), endpoint.port) if isinstance(endpoint, Endpoint) else None
