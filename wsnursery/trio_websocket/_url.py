"""The URLs of WebSocket servers (RFC 6455 §3)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from wsnursery._handshake import DEFAULT_PORTS


@dataclass(frozen=True, slots=True)
class WebSocketURL:
    """The parts of a WebSocket URL."""

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
        """The value of the ``Host`` header: with the port only if it is not the default one."""
        # The colons of an IPv6 address would be read as the port (RFC 3986 §3.2.2).
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(url: str) -> WebSocketURL:
    """Split a WebSocket URL.

    Raises:
        ValueError: It is not of the form ``ws://host:port/path?query``.
    """
    # Checked first, because `urlsplit` silently drops tabs and line breaks.
    if not all("!" <= character <= "~" for character in url):
        raise ValueError(
            f"a URL must consist of printable ASCII characters, got {url!r}: "
            "percent-encode it (urllib.parse.quote)"
        )
    parts = urlsplit(url)
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise ValueError(f"{url!r} is not a WebSocket URL: write ws://host/path or wss://host/path")
    if parts.fragment:
        raise ValueError(f"a WebSocket URL must be without a fragment, got {url!r}: drop it")
    if parts.username is not None:
        # The URL is not shown, because it may hold a password.
        raise ValueError(
            "the URL must be without a user name, which would not be sent: use "
            "headers=[(b'authorization', ...)] instead"
        )
    query = f"?{parts.query}" if parts.query else ""
    return WebSocketURL(
        parts.scheme == "wss",
        parts.hostname,
        DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port,
        (parts.path or "/") + query,
    )
