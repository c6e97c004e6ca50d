"""The ASGI lifespan of an application: its startup and its shutdown."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from wsnursery._engine.functions import refusing_signature, shown_name
from wsnursery._types import Receive, Send

Lifespan = Callable[[], AbstractAsyncContextManager[object]]
"""A function without arguments that gives an async context manager. `websocket_app` enters it when
the server starts, and leaves it when the server stops."""


def check_lifespan(lifespan: Any) -> None:
    """Refuse what cannot be a lifespan, before a server tries it.

    Raises:
        TypeError: It is not a function without arguments that gives an async context manager.
    """
    if isinstance(lifespan, AbstractAsyncContextManager):
        raise TypeError("lifespan must be a function, got a block: write its name without ()")
    if not callable(lifespan):
        raise TypeError(f"lifespan must be a function, got {type(lifespan).__name__}")
    name = shown_name(lifespan)
    if inspect.isasyncgenfunction(lifespan) or inspect.iscoroutinefunction(lifespan):
        raise TypeError(
            f"lifespan must give an async context manager: write @asynccontextmanager above {name}"
            ", and `yield` where the server runs"
        )
    signature = refusing_signature(lifespan)
    if signature is not None:
        raise TypeError(
            f"lifespan must take no arguments, but {name} takes {signature}: "
            "give them with functools.partial"
        )


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
