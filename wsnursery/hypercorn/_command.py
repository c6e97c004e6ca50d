"""``python -m wsnursery serve``: an ASGI application on Hypercorn, drained before it stops."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import Config, DeploymentError, run


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM.

    Args:
        arguments: The arguments of the command line, after the command's name.

    Returns:
        The exit status of `wsnursery.hypercorn.run`.
    """
    parser = argparse.ArgumentParser(
        prog="wsnursery serve",
        description="Serve an ASGI application on Hypercorn. SIGTERM and Ctrl-C close the "
        "WebSockets first; a second one does not wait for them.",
    )
    parser.add_argument("app", metavar="MODULE:NAME", help="the application, such as chat:app")
    parser.add_argument("-c", "--config", metavar="FILE", help="settings, in TOML")
    parser.add_argument(
        "-b",
        "--bind",
        action="append",
        metavar="ADDRESS",
        help="HOST:PORT, unix:PATH or fd://NUMBER, where to listen; may be repeated",
    )
    parser.add_argument("-k", "--worker-class", metavar="CLASS", help="asyncio, trio or uvloop")
    parser.add_argument("-w", "--workers", type=int, metavar="N", help="how many processes")
    parser.add_argument(
        "--factory",
        action="store_true",
        help="MODULE:NAME is a function that makes the application",
    )
    parser.add_argument(
        "--log-level",
        metavar="LEVEL",
        dest="loglevel",
        help="debug, info (the default), warning...",
    )
    parser.add_argument(
        "--access-log",
        metavar="FILE",
        dest="accesslog",
        help="one line for each request; - is stdout",
    )
    chosen = parser.parse_args(arguments)
    try:
        config = Config() if chosen.config is None else Config.from_toml(chosen.config)
    except DeploymentError as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    for name in ("bind", "worker_class", "workers", "loglevel", "accesslog"):
        value = getattr(chosen, name)
        if value is not None:
            setattr(config, name, value)
    # `python -m` searches the current directory for modules; a console script does not.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return run(chosen.app, config, factory=chosen.factory)
