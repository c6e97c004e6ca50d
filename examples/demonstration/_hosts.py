"""The host names under which this server answers, so that no other web page can control it.

The server is meant for a browser on the same machine. A page of another site could still connect to
it, or let its own host name resolve to this address (DNS rebinding). The ``Origin`` header shows
the first attack and ``Host`` shows the second, so both must name this server.
"""

from __future__ import annotations

import ipaddress

from ._asgi import Scope

HTTP_PORT = 80
"""The port that a browser omits from ``Host`` and ``Origin``."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def hosts(wanted: str, bound: tuple[str, int]) -> tuple[str, ...]:
    """Return the values that a ``Host`` header may have.

    Args:
        wanted: The host from the command line, an address or a name.
        bound: The address and the port to which the socket is bound.
    """
    address = ipaddress.ip_address(bound[0])
    own = f"[{address}]" if address.version == 6 else str(address)
    names = dict.fromkeys((wanted.lower(), own))
    if address.is_loopback or address.is_unspecified:
        names |= dict.fromkeys(LOOPBACK)
    ports = ("", ":80") if bound[1] == HTTP_PORT else (f":{bound[1]}",)
    return tuple(f"{name}{port}" for name in names for port in ports)


def origins(hosts: tuple[str, ...]) -> list[str]:
    """Return the origins of this server's own pages."""
    return [f"http://{host}" for host in hosts]


def is_for(scope: Scope, hosts: tuple[str, ...]) -> bool:
    """Return whether the ``Host`` of a request is one of this server's names."""
    given = [value for name, value in scope["headers"] if name == b"host"]
    return len(given) == 1 and given[0].decode("latin-1").lower() in hosts
