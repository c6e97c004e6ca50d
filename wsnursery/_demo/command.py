"""``python -m wsnursery demo``: serve the demonstration on Hypercorn."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib.metadata import version

import anyio

from wsnursery import hypercorn  # first: it says which extra is missing
from wsnursery.hypercorn._config import bind
from wsnursery.hypercorn._process import check, complain, serve_process, status_of

from ._hosts import hosts
from .application import Demonstration

HOST = "127.0.0.1"
PORT = 8000

WELCOME = """\
A demonstration of wsnursery on Hypercorn and {backend}: open

    http://{host}/

in a browser, in two tabs if you like. Ctrl-C stops it; every page is told (close code 1012).
"""


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM, or until a page asks for the end.

    Args:
        arguments: Those of the command line, after the command's name.

    Returns:
        The exit status: 0; 1 if it could not start, 2 if an argument is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="python -m wsnursery demo",
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
        help=f"where to listen ({HOST}:{PORT}); port 0 takes any that is free",
    )
    chosen = parser.parse_args(arguments)
    return status_of(lambda: _serve(chosen.backend, *chosen.bind), complain)


def _address(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"([^:\s]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8000")
    return found[1], int(found[2])


def _serve(backend: str, host: str, port: int) -> int:
    config = _config(backend, f"{host}:{port}")
    stop = anyio.Event()
    try:
        sockets = bind(config)
    except hypercorn.DeploymentError as exc:
        raise hypercorn.DeploymentError(
            f"{exc}; choose another place with `demo --bind HOST:PORT`"
        ) from exc
    names = hosts(host, sockets.insecure_sockets[0].getsockname()[:2])
    facts = {"backend": backend, "hypercorn": version("hypercorn"), "process": os.getpid()}
    app = Demonstration(names, facts, stop.set)

    async def announce_and_wait() -> None:
        # It is called when the server listens.
        sys.stdout.write(WELCOME.format(backend=backend, host=names[0]))
        sys.stdout.flush()
        await stop.wait()

    check(app, config)
    serve_process(app, config, sockets, announce_and_wait)
    return 0


def _config(backend: str, address: str) -> hypercorn.Config:
    config = hypercorn.Config()
    config.bind = [address]
    config.worker_class = backend
    config.loglevel = "WARNING"
    config.drain_timeout = 3.0  # nobody here has anything to lose
    config.drain_spread = 0.0
    config.graceful_timeout = 1.0
    return config
