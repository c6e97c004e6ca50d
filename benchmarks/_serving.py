"""The ASGI servers, listening on a Unix socket in the event loop that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import uvicorn
from hypercorn.config import Config

from ._loops import Serve

SERVERS = {"trio": ("hypercorn",), "asyncio": ("hypercorn", "uvicorn")}
"""Which server runs on which event loop."""


def serving(server: str, backend: str, app: Any, address: Path) -> Serve:
    """What serves the application there."""
    if server == "uvicorn":
        return _uvicorn(app, address)
    return _hypercorn(backend, app, address)


def _hypercorn(backend: str, app: Any, address: Path) -> Serve:
    config = Config()
    config.bind = [f"unix:{address}"]
    config.loglevel = "WARNING"
    serve = import_module(f"hypercorn.{backend}").serve

    async def run(stop: Callable[[], Awaitable[None]]) -> None:
        await serve(app, config, shutdown_trigger=stop)

    return run


def _uvicorn(app: Any, address: Path) -> Serve:
    server = uvicorn.Server(uvicorn.Config(app, uds=str(address), log_level="warning"))

    async def run(stop: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve())
            await stop()
            server.should_exit = True

    return run
