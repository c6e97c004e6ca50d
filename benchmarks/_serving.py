"""The ASGI servers, embedded in the running event loop."""

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
"""The event loops of each server."""


def serving(server: str, backend: str, app: Any, where: Path | socket) -> Serve:
    """Return a function that serves the application on a Unix socket or a given socket."""
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
    # No pings, because the load only counts bytes and does not answer them.
    config = uvicorn.Config(app, uds=path, log_level="warning", ws_ping_interval=None)
    server = uvicorn.Server(config)

    async def run(stop: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets))
            await stop()
            server.should_exit = True

    return run
