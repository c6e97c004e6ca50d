"""The lifespan of an application: what runs from the server's start to its end."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from wsnursery._types import Receive, Send

Lifespan = Callable[[], AbstractAsyncContextManager[object]]
"""What `websocket_app` enters when the server starts, and leaves when it stops: a function without
arguments that gives an async context manager."""


async def live(receive: Receive, send: Send, lifespan: Lifespan | None) -> None:
    """Stay until the shutdown: Hypercorn's trio worker ends with an application that returns.

    Raises:
        Exception: What the lifespan has raised. The server has been told which phase has failed.
    """
    phase = "startup"
    try:
        await _heard(receive, "lifespan.startup")
        async with nullcontext() if lifespan is None else lifespan():
            await send({"type": "lifespan.startup.complete"})
            phase = "shutdown"
            await _heard(receive, "lifespan.shutdown")
    except Exception:
        # Servers log the message, and not all of them the exception.
        await send({"type": f"lifespan.{phase}.failed", "message": traceback.format_exc()})
        raise
    await send({"type": "lifespan.shutdown.complete"})


async def _heard(receive: Receive, wanted: str) -> None:
    while (await receive())["type"] != wanted:
        pass
