"""The address of Redis: a URL, parsed and checked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import anyio
from anyio.abc import ByteStream

FORMS = (
    "redis://[[user]:password@]host[:port][/database], the same with rediss:// for TLS, or "
    "unix://[[user]:password@]/path/of/socket[?db=database]"
)

DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of a URL of Redis."""

    host: str
    """Empty for a unix socket."""
    port: int
    path: str
    """The path of a unix socket."""
    tls: bool
    user: str
    password: str | None
    database: int

    def __str__(self) -> str:
        """Return it without the password, for logs."""
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"

    async def connect(self, ssl_context: ssl.SSLContext | None) -> ByteStream:
        """Open a connection.

        Raises:
            ConnectionError: Connecting failed.
        """
        try:
            if self.path:
                return await anyio.connect_unix(self.path)
            if not self.tls:
                return await anyio.connect_tcp(self.host, self.port)
            context = ssl_context or ssl.create_default_context()
            return await anyio.connect_tcp(self.host, self.port, tls=True, ssl_context=context)
        except OSError as exc:  # the cause says more than anyio's own error
            raise ConnectionError(f"cannot connect to {self}: {exc.__cause__ or exc}") from exc
        except anyio.BrokenResourceError as exc:  # anyio raises it for a failed handshake
            raise ConnectionError(f"the TLS handshake with {self} has failed") from exc


def parse_address(url: str) -> Address:
    """Parse a URL.

    Raises:
        ValueError: It is not a URL of Redis. The message does not repeat its password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORT
    except ValueError as exc:
        raise ValueError(f"the URL of Redis cannot be read ({exc}): use {FORMS}") from None
    socket = parts.scheme == "unix"
    if not (socket and parts.path) and not (parts.scheme in ("redis", "rediss") and parts.hostname):
        raise ValueError(f"the URL of Redis must be {FORMS}, got {_shown(parts)}")
    return Address(
        host="" if socket else parts.hostname or "",
        port=port,
        path=unquote(parts.path) if socket else "",
        tls=parts.scheme == "rediss",
        user=unquote(parts.username or "default"),
        password=None if parts.password is None else unquote(parts.password),
        database=_database(parts, socket=socket),
    )


def _database(parts: SplitResult, *, socket: bool) -> int:
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    database = query.pop("db", "")
    if query:
        raise ValueError(
            f"the URL of Redis must have no parameter but db, got {', '.join(sorted(query))}"
        )
    if not socket:
        database = parts.path.strip("/") or database
    if database and not (database.isascii() and database.isdecimal()):
        raise ValueError(f"the database of Redis must be a number, got {database!r}: use {FORMS}")
    return int(database or 0)


def _shown(parts: SplitResult) -> str:
    return repr(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
