"""The command that starts a server: given by the user, or known by a name."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass

APPLICATION = "wsnursery._doctor.application:app"
"""The application that replaces `{app}`."""

KNOWN_SERVERS = {
    "hypercorn-trio": "hypercorn -k trio {app} -b {bind}",
    "hypercorn-asyncio": "hypercorn -k asyncio {app} -b {bind}",
    "hypercorn-uvloop": "hypercorn -k uvloop {app} -b {bind}",
    "anycorn-trio": "anycorn -k trio {app} -b {bind}",
    "anycorn-asyncio": "anycorn -k asyncio {app} -b {bind}",
    "uvicorn": "uvicorn {app} --host {host} --port {port}",
    "uvicorn-wsproto": "uvicorn {app} --host {host} --port {port} --ws wsproto",
    "uvicorn-legacy": "uvicorn {app} --host {host} --port {port} --ws websockets",
    "granian": "granian --interface asgi {app} --host {host} --port {port}",
    "daphne": "daphne -b {host} -p {port} {app}",
}
"""The commands of the servers that are known by name."""

ALIASES = {"hypercorn": "hypercorn-trio", "anycorn": "anycorn-trio"}


@dataclass(frozen=True)
class Command:
    """A command line with places for the application and the address.

    Attributes:
        shown: The command line as the user gave it.
        words: The words of the command line, with ``{app}``, ``{bind}``, ``{host}`` and ``{port}``.
    """

    shown: str
    words: tuple[str, ...]

    def filled(self, host: str, port: int) -> list[str]:
        """Return the arguments that start the server on an address."""
        places = {"app": APPLICATION, "bind": f"{host}:{port}", "host": host, "port": str(port)}
        return [_fill(word, places) for word in self.words]


def _fill(word: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(f"{{{name}}}", value)
    return word


def parse(text: str) -> Command:
    """Parse the argument of the user: a known name, or a command line.

    Raises:
        ValueError: It is neither. The message says what to write.
    """
    name = ALIASES.get(text, text)
    if name in KNOWN_SERVERS:
        shown = KNOWN_SERVERS[name]
        # Run it with this interpreter, regardless of the search path.
        return Command(shown, (sys.executable, "-m", *shlex.split(shown)))
    if not text.strip() or " " not in text.strip():
        raise ValueError(
            f"the server must be a known name or a command, got {text!r}: choose from "
            f"{', '.join(KNOWN_SERVERS)}"
        )
    if "{app}" not in text or not ("{bind}" in text or "{port}" in text):
        raise ValueError(
            "the command must contain {app} and {bind} (or {host} and {port}), "
            f"as in {KNOWN_SERVERS['hypercorn-trio']!r}"
        )
    return Command(text, tuple(shlex.split(text, posix=os.name == "posix")))
