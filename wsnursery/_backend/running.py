"""What runs in the calling thread: trio, asyncio or nothing. trio may not even be imported."""

from __future__ import annotations

import asyncio
import sys


def running_on_trio() -> bool:
    """Whether trio runs the calling code. It is trio, too, in its guest mode, where both run."""
    trio = sys.modules.get("trio")
    return trio is not None and trio.lowlevel.in_trio_run()


def running_loop() -> object:
    """What identifies the event loop that runs in this thread; `None` if none does.

    It also works in plain callbacks of the loop, in which no task runs.
    """
    if running_on_trio():
        return sys.modules["trio"].lowlevel.current_trio_token()
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
