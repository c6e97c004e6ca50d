"""The ASGI servers in the event loop that runs, as they are embedded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from socket import socket
from typing import Any

import uvicorn
from hypercorn.config import Config

from ._loops import Serve

SERVERS = {"trio": ("hypercorn",), "asyncio": ("hypercorn", "uvicorn")}
"""Which server runs on which event loop."""


def serving(server: str, backend: str, app: Any, where: Path | socket) -> Serve:
    """What serves the application on a Unix socket of that name, or on a socket."""
    if server == "uvicorn":
        return _uvicorn(app, where)
    return _hypercorn(backend, app, where)


def _hypercorn(backend: str, app: Any, where: Path | socket) -> Serve:
    config = Config()
    config.bind = [f"unix:{where}" if isinstance(where, Path) else f"fd://{where.detach()}"]
    config.loglevel = "WARNING"
    serve = import_module(f"hypercorn.{backend}").serve

    async def run(stop: Callable[[], Awaitable[None]]) -> None:
        await serve(app, config, shutdown_trigger=stop)

    return run


def _uvicorn(app: Any, where: Path | socket) -> Serve:
    path, sockets = (str(where), None) if isinstance(where, Path) else (None, [where])
    # Without pings: the load counts bytes and answers none.
    config = uvicorn.Config(app, uds=path, log_level="warning", ws_ping_interval=None)
    server = uvicorn.Server(config)

    async def run(stop: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets))
            await stop()
            server.should_exit = True

    return run
