"""Under which names this server may be asked, so that no other web page can drive it.

The server is for the browser of the machine it runs on. Another site's page could still connect to
it, or have its own name resolve to this address (DNS rebinding). The first is told by the
``Origin`` header, the second by ``Host``: both must name this server.
"""

from __future__ import annotations

import ipaddress

from ._asgi import Scope

HTTP_PORT = 80
"""Which a browser leaves out."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def hosts(wanted: str, bound: tuple[str, int]) -> tuple[str, ...]:
    """What may stand in a ``Host`` header.

    Args:
        wanted: The host that was asked for on the command line; it may be a name.
        bound: The address and the port that the socket has got.
    """
    address = ipaddress.ip_address(bound[0])
    own = f"[{address}]" if address.version == 6 else str(address)
    names = dict.fromkeys((wanted.lower(), own))
    if address.is_loopback or address.is_unspecified:
        names |= dict.fromkeys(LOOPBACK)
    ports = ("", ":80") if bound[1] == HTTP_PORT else (f":{bound[1]}",)
    return tuple(f"{name}{port}" for name in names for port in ports)


def origins(hosts: tuple[str, ...]) -> list[str]:
    """The origins of this server's own pages."""
    return [f"http://{host}" for host in hosts]


def is_for(scope: Scope, hosts: tuple[str, ...]) -> bool:
    """Whether a request was made to this server by one of its names."""
    given = [value for name, value in scope["headers"] if name == b"host"]
    return len(given) == 1 and given[0].decode("latin-1").lower() in hosts
