"""`Config`: Hypercorn's configuration with defaults for WebSockets."""

from __future__ import annotations

import socket
import tomllib
from os import PathLike
from pathlib import Path

import hypercorn.config
from hypercorn.config import Sockets, SocketTypeError


class DeploymentError(RuntimeError):
    """The server cannot start as it is configured. Its `str` is one sentence that says why."""


class Config(hypercorn.config.Config):
    """A ``hypercorn.Config`` for WebSockets.

    Everything that Hypercorn knows can be set; what is listed here is new or has another default.

    Read it from a file with ``Config.from_toml("hypercorn.toml")``. The same file serves the
    ``hypercorn`` command, which passes over the settings that are new here.
    """

    websocket_ping_interval: float | None = 20.0
    """Seconds between two pings (Hypercorn: none). They keep the connection open in proxies and NAT
    routers, which drop idle ones after a minute or so, and they are what ``tcp_user_timeout`` needs
    to find out that a quiet peer is gone.

    Hypercorn keeps a task and the descriptor of a connection that has ended until its next ping is
    due; a much longer interval keeps more of them."""

    tcp_user_timeout: float | None = 30.0
    """Seconds that sent data may stay unacknowledged before the operating system gives the
    connection up (``TCP_USER_TIMEOUT``, RFC 5482; Linux only). `None` leaves it to the system: some
    15 minutes.

    It ends the connection to a peer that vanished, at the latest this time after the next ping, and
    that to one which reads nothing any more: in the same time as `wsnursery.Options.send_timeout`.
    Behind a proxy the peer is the proxy; Hypercorn's ``read_timeout`` looks further."""

    websocket_max_message_size: int = 2 * 1024 * 1024
    """The largest message, in bytes (Hypercorn: 16 MiB, times the number of connections). Twice
    `wsnursery.Options.max_message_size`, so that ours is reached first: then the handler is
    notified, which it is not by Hypercorn's limit."""

    websocket_compression: bool = False
    """Whether permessage-deflate (RFC 7692) is accepted when a client offers it (Hypercorn: yes).

    It is off because it costs each connection some 300 kB for the compressors and both sides their
    time, and because a cancelled ``send`` of a handler without this library breaks it. When it is
    on, no more than ``websocket_max_message_size`` is inflated of one message: Hypercorn by itself
    inflates whatever it has read, 64 MB from 64 kB."""

    hangup_timeout: float | None = 30.0
    """Seconds that a handler may take nothing of what a peer has sent that has closed since. Then
    the connection counts as broken (Linux only). `None`: for ever.

    Hypercorn does not read while the handler takes nothing, so it does not see the end either. If
    so much is unread that the end has no room behind it, the next ping finds out."""

    backlog: int = 1024
    """Connections that may wait to be accepted (Hypercorn: 100). After a restart all clients come
    back at the same moment."""

    ssl_handshake_timeout: float = 10.0
    """Seconds for the TLS handshake (Hypercorn: 60). A peer that says nothing holds a task and a
    descriptor so long."""

    shutdown_timeout: float = 5.0
    """Seconds that the application has for the shutdown of its lifespan (Hypercorn: 60)."""

    drain_timeout: float = 15.0
    """Seconds from the signal to stop until the handlers that still run are cancelled. With
    ``graceful_timeout`` (3 s, twice), ``shutdown_timeout`` and 3 s for the rest it stays below the
    30 s that Kubernetes grants."""

    drain_spread: float = 5.0
    """Seconds over which the closes are spread, so that the clients do not all come back at once.
    It takes less where that makes fewer than 10 in a tenth of a second."""

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
            DeploymentError: It cannot be read, or has a setting that does not exist.
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
        """Bind to the addresses, with ``TCP_USER_TIMEOUT`` where it is TCP.

        Raises:
            OSError: One of the addresses cannot be had.
        """
        sockets = super().create_sockets()
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if option is not None and self.tcp_user_timeout is not None:
            for listener in (*sockets.secure_sockets, *sockets.insecure_sockets):
                if listener.family in (socket.AF_INET, socket.AF_INET6):
                    # What is accepted inherits it.
                    milliseconds = round(self.tcp_user_timeout * 1000)
                    listener.setsockopt(socket.IPPROTO_TCP, option, milliseconds)
        return sockets


def bind(config: hypercorn.config.Config) -> Sockets:
    """Bind to the addresses of a configuration, whichever class it has.

    Raises:
        DeploymentError: One of them cannot be had.
    """
    try:
        return config.create_sockets()
    except (OSError, OverflowError, ValueError, SocketTypeError) as exc:
        addresses = ", ".join([*config.bind, *config.insecure_bind, *config.quic_bind])
        raise DeploymentError(f"cannot listen on {addresses}: {exc}") from exc


def check_tls(config: hypercorn.config.Config) -> None:
    """See whether TLS can be served as a configuration says.

    Raises:
        DeploymentError: The certificate or the key is not set, cannot be read, or does not fit.
    """
    if (config.certfile is None) != (config.keyfile is None):
        raise DeploymentError(
            "set both certfile and keyfile, or none: with one of them Hypercorn serves without TLS"
        )
    for path in (config.certfile, config.keyfile, config.ca_certs):
        # What OpenSSL raises does not say which file it is about.
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
