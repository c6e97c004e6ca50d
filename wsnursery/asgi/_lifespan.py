"""The ASGI lifespan of an application: its startup and its shutdown."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from wsnursery._types import Receive, Send

Lifespan = Callable[[], AbstractAsyncContextManager[object]]
"""A function without arguments that gives an async context manager. `websocket_app` enters it when
the server starts, and leaves it when the server stops."""


async def run_lifespan(receive: Receive, send: Send, lifespan: Lifespan | None) -> None:
    """Run the lifespan until the shutdown.

    It does not return before, not even without a lifespan, because Hypercorn's trio worker ends
    when the application returns.

    Raises:
        Exception: What the lifespan raised, after the server was told which phase failed.
    """
    phase = "startup"
    try:
        await _wait_for(receive, "lifespan.startup")
        async with nullcontext() if lifespan is None else lifespan():
            await send({"type": "lifespan.startup.complete"})
            phase = "shutdown"
            await _wait_for(receive, "lifespan.shutdown")
    except Exception:
        # Servers log the message, and not all of them the exception.
        await send({"type": f"lifespan.{phase}.failed", "message": traceback.format_exc()})
        raise
    await send({"type": "lifespan.shutdown.complete"})


async def _wait_for(receive: Receive, wanted: str) -> None:
    while (await receive())["type"] != wanted:
        pass
