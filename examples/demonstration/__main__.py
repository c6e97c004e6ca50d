"""``python -m examples.demonstration``: serve the demonstration on Hypercorn."""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

from wsnursery import hypercorn

from ._hosts import hosts
from .application import Demonstration

HOST = "127.0.0.1"
PORT = 8000
MAX_PORT = 65535

WELCOME = """\
A demonstration of wsnursery on Hypercorn and {backend}: open

    http://{host}/

in a browser, in two tabs if you like. Ctrl-C stops it and closes every page's WebSocket with
code 1012.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM, or until the button in a page sends the latter.

    Args:
        arguments: The arguments; by default those of the command line.

    Returns:
        The exit status: 0; 1 if it could not start, 2 if an argument is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="python -m examples.demonstration",
        description="A demonstration in the browser: a chat, the live tree of its connections, "
        "and buttons that break them.",
    )
    parser.add_argument(
        "--backend", choices=("trio", "asyncio"), default="trio", help="what it runs on (trio)"
    )
    parser.add_argument(
        "--bind",
        metavar="HOST:PORT",
        type=_address,
        default=(HOST, PORT),
        help=f"where to listen ({HOST}:{PORT}); port 0 takes any free port",
    )
    chosen = parser.parse_args(arguments)
    host, port = chosen.bind
    try:
        listener = _listen(host, port)
    except OSError as exc:
        sys.stderr.write(
            f"cannot listen on {host}:{port}: {exc}; choose another address with --bind HOST:PORT\n"
        )
        return 1
    names = hosts(host, listener.getsockname()[:2])
    facts = {"backend": chosen.backend, "hypercorn": version("hypercorn"), "process": os.getpid()}
    app = Demonstration(names, facts, partial(signal.raise_signal, signal.SIGTERM))
    sys.stdout.write(WELCOME.format(backend=chosen.backend, host=names[0]))
    sys.stdout.flush()
    return hypercorn.run(app, _config(chosen.backend, listener))


def _address(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"([^:\s]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", text)
    if found is None or int(found[2]) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8000")
    return found[1], int(found[2])


def _listen(host: str, port: int) -> socket.socket:
    """Listen before the server starts, because the page must know the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), port), family=family)


def _config(backend: str, listener: socket.socket) -> hypercorn.Config:
    config = hypercorn.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.worker_class = backend
    config.loglevel = "WARNING"
    config.drain_timeout = 3.0  # short, because the clients of a demonstration lose nothing
    config.drain_spread = 0.0
    config.graceful_timeout = 1.0
    return config


if __name__ == "__main__":
    sys.exit(main())
