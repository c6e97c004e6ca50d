"""Handshakes of trio-websocket in the form of an ASGI scope."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import unquote

import trio
from trio_websocket import Endpoint, WebSocketConnection, WebSocketRequest

from wsnursery._types import Scope

from ._url import WebSocketURL


def client_scope(
    url: WebSocketURL,
    subprotocols: list[str],
    connection: WebSocketConnection,
    stream: trio.abc.Stream,
) -> Scope:
    """The scope of a client's connection; its headers are those of the server's answer."""
    return _scope(
        url.scheme,
        url.resource,
        list(connection.handshake_headers),
        subprotocols,
        client=_address(stream, "getsockname"),
        server=(url.host, url.port),
    )


def server_scope(request: WebSocketRequest, stream: trio.abc.Stream) -> Scope:
    """The scope of a request that is still to be answered."""
    # wsproto takes two headers out of the public `headers`. Applications expect them in a scope.
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
    """The scope of a connection that is open already, as far as its handshake is still known."""
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
    """Whether a stream is encrypted with TLS."""
    return isinstance(stream, trio.SSLStream)


def _address(stream: trio.abc.Stream, which: str) -> tuple[str, int] | None:
    below = cast("Any", stream).transport_stream if is_secure(stream) else stream
    if not isinstance(below, trio.SocketStream):
        # A stream in memory has no address.
        return None
    try:
        address = getattr(below.socket, which)()
    except OSError:
        # The peer has reset the connection already.
        return None
    return address[0], address[1]


def _endpoint(endpoint: Endpoint | str) -> tuple[str, int] | None:
    return (str(endpoint.address), endpoint.port) if isinstance(endpoint, Endpoint) else None
