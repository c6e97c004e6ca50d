"""Which event loop runs in the calling thread: trio's, asyncio's or none. It imports no trio."""

from __future__ import annotations

import asyncio
import sys


def running_on_trio() -> bool:
    """Return whether trio runs the calling code, also in its guest mode, in which both run."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_run()


def running_loop() -> object:
    """Return an object that identifies the event loop of this thread; `None` if none runs.

    It also works in plain callbacks of the loop, in which no task runs.
    """
    if running_on_trio():
        return sys.modules["trio"].lowlevel.current_trio_token()
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
