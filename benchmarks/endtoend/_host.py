"""The server process: `python -m benchmarks.endtoend._host SERVER APP DESCRIPTOR`.

SIGUSR1 makes it write a line of JSON with what lives in it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
import sys
from typing import Any

import anyio

from benchmarks import apps
from benchmarks._serving import serving

SERVERS = {
    "hypercorn-trio": ("hypercorn", "trio"),
    "hypercorn-asyncio": ("hypercorn", "asyncio"),
    "hypercorn-uvloop": ("hypercorn", "uvloop"),
    "uvicorn-asyncio": ("uvicorn", "asyncio"),
    "uvicorn-uvloop": ("uvicorn", "uvloop"),
}
"""Name, ASGI server, event loop."""


def backend_of(server: str) -> str:
    """Which of anyio's backends it runs on."""
    return "trio" if server.endswith("trio") else "asyncio"


def main() -> None:
    """Serve until killed."""
    name, app, descriptor = sys.argv[1:]
    server, loop = SERVERS[name]
    listener = socket.socket(fileno=int(descriptor))
    backend = backend_of(name)
    options: dict[str, Any] = {}
    if loop == "uvloop":
        import uvloop

        options["loop_factory"] = uvloop.new_event_loop
    serve = serving(server, backend, apps.load(app), listener)

    async def run() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(_answer, backend)
            await serve(anyio.sleep_forever)

    anyio.run(run, backend=backend, backend_options=options)


async def _answer(backend: str) -> None:
    with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
        print("ready", flush=True)
        async for _ in signals:
            gc.collect()
            facts = {"tasks": _tasks(backend), "objects": len(gc.get_objects())}
            print(json.dumps(facts), flush=True)


def _tasks(backend: str) -> int:
    if backend == "trio":
        import trio

        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


if __name__ == "__main__":
    main()
