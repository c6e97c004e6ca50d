"""`Config`: Hypercorn's configuration with defaults for WebSockets."""

from __future__ import annotations

import socket
import tomllib
from os import PathLike
from pathlib import Path

import hypercorn.config
from hypercorn.config import Sockets, SocketTypeError


class DeploymentError(RuntimeError):
    """The server cannot start with this configuration. Its `str` gives the reason."""


class Config(hypercorn.config.Config):
    """A ``hypercorn.Config`` for WebSockets.

    All settings of Hypercorn can be set. Those that are listed here are new, or have another
    default.

    Read a file with ``Config.from_toml("hypercorn.toml")``. The ``hypercorn`` command can read the
    same file, and ignores the settings that are new here.
    """

    websocket_ping_interval: float | None = 20.0
    """Seconds between two pings (Hypercorn: none). They keep the connection open in proxies and NAT
    routers, which drop idle connections after about a minute. ``tcp_user_timeout`` also needs them,
    because it notices only a peer to which data is sent.

    Hypercorn keeps the task and the descriptor of an ended connection until its next ping is due.
    A much longer interval keeps more of them."""

    tcp_user_timeout: float | None = 30.0
    """Seconds that sent data may stay unacknowledged before the operating system drops the
    connection (``TCP_USER_TIMEOUT``, RFC 5482; Linux only). With `None` the system decides: about
    15 minutes.

    It ends the connection to a vanished peer at the latest this many seconds after the next ping.
    It also ends the connection to a peer that no longer reads, as `wsnursery.Options.send_timeout`
    does. Behind a proxy the peer is the proxy; Hypercorn's ``read_timeout`` covers the client."""

    websocket_max_message_size: int = 2 * 1024 * 1024
    """The largest message, in bytes (Hypercorn: 16 MiB, times the number of connections). It is
    twice `wsnursery.Options.max_message_size`, so that the limit of this library applies first and
    the handler is notified. After Hypercorn's limit it would not be."""

    websocket_compression: bool = False
    """Whether permessage-deflate (RFC 7692) is accepted when a client offers it (Hypercorn: yes).

    It is off because it costs some 300 kB per connection and processor time on both sides, and
    because a cancelled ``send`` of a handler without this library breaks it. When it is on, at most
    ``websocket_max_message_size`` bytes are inflated per message. Hypercorn alone inflates all data
    that it has read: 64 MB from 64 kB."""

    hangup_timeout: float | None = 30.0
    """Seconds that a handler may leave messages unread after the peer has closed. Then the
    connection counts as broken (Linux only). `None` sets no limit.

    Hypercorn does not read while the handler does not receive, so it does not see the close. If the
    unread data fills the buffers, the FIN cannot arrive, and the next ping detects the end."""

    backlog: int = 1024
    """Connections that may wait to be accepted (Hypercorn: 100), because after a restart all
    clients reconnect at the same moment."""

    ssl_handshake_timeout: float = 10.0
    """Seconds for the TLS handshake (Hypercorn: 60). Until then, a silent peer holds a task and a
    descriptor."""

    shutdown_timeout: float = 5.0
    """Seconds that the application has for the shutdown of its lifespan (Hypercorn: 60)."""

    drain_timeout: float = 15.0
    """Seconds from the signal until the handlers that still run are cancelled. Together with
    ``graceful_timeout`` (3 s, twice), ``shutdown_timeout`` and 3 s for the rest, this is less than
    the 30 s that Kubernetes allows."""

    drain_spread: float = 5.0
    """Seconds over which the closes are spread, so that the clients do not all reconnect at once.
    The spread is shorter if there would be fewer than 10 closes in a tenth of a second."""

    drain_code: int = 1012
    """The close code of the drain: 1012, "service restart" (IANA registry). Clients treat it as
    "come back in a moment"."""

    drain_reason: str = ""
    """The close reason of the drain, at most 123 bytes in UTF-8."""

    @classmethod
    def from_toml(cls, filename: str | bytes | PathLike[str]) -> Config:
        """Read a configuration file.

        Args:
            filename: The path of a TOML file with Hypercorn's settings and those above.

        Raises:
            DeploymentError: The file cannot be read, or has a setting that does not exist.
        """
        path = Path(filename.decode() if isinstance(filename, bytes) else filename)
        try:
            settings = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as exc:
            raise DeploymentError(f"cannot read the configuration {path}: {exc}") from exc
        config = cls()
        for name, value in settings.items():
            if not hasattr(cls, name):
                raise DeploymentError(f"{path}: there is no setting {name!r}")
            setattr(config, name, value)
        return config

    def create_sockets(self) -> Sockets:
        """Bind to the addresses, and set ``TCP_USER_TIMEOUT`` on TCP sockets.

        Raises:
            OSError: Binding to one of the addresses failed.
        """
        sockets = super().create_sockets()
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if option is not None and self.tcp_user_timeout is not None:
            for listener in (*sockets.secure_sockets, *sockets.insecure_sockets):
                if listener.family in (socket.AF_INET, socket.AF_INET6):
                    # Accepted connections inherit it.
                    milliseconds = round(self.tcp_user_timeout * 1000)
                    listener.setsockopt(socket.IPPROTO_TCP, option, milliseconds)
        return sockets


def bind(config: hypercorn.config.Config) -> Sockets:
    """Bind to the addresses of a configuration, whichever class it has.

    Raises:
        DeploymentError: Binding to one of the addresses failed.
    """
    try:
        return config.create_sockets()
    except (OSError, OverflowError, ValueError, SocketTypeError) as exc:
        addresses = ", ".join([*config.bind, *config.insecure_bind, *config.quic_bind])
        raise DeploymentError(f"cannot listen on {addresses}: {exc}") from exc


def check_tls(config: hypercorn.config.Config) -> None:
    """Check that TLS can be served with a configuration.

    Raises:
        DeploymentError: The certificate or the key is not set, cannot be read, or does not fit.
    """
    if (config.certfile is None) != (config.keyfile is None):
        raise DeploymentError(
            "set both certfile and keyfile, or none: with one of them Hypercorn serves without TLS"
        )
    for path in (config.certfile, config.keyfile, config.ca_certs):
        # Check the files here, because OpenSSL's errors do not name the file.
        try:
            if path is not None:
                Path(path).open("rb").close()
        except OSError as exc:
            raise DeploymentError(f"cannot read {path}: {exc.strerror}") from exc
    try:
        config.create_ssl_context()
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        raise DeploymentError(
            f"cannot serve TLS with {config.certfile} and {config.keyfile}: {exc}"
        ) from exc
