"""Which event loop a room belongs to, so that calls from elsewhere are refused in time."""

from __future__ import annotations

import asyncio
import sys
from threading import get_ident


def running_loop() -> object:
    """What identifies the event loop that runs in this thread; `None` if none does.

    It also works in plain callbacks of the loop, in which no task runs.
    """
    trio = sys.modules.get("trio")
    if trio is not None:
        try:
            return trio.lowlevel.current_trio_token()
        except RuntimeError:
            pass  # no run of trio in this thread, so it may be asyncio's
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Home:
    """The event loop in which the members of a room live.

    Args:
        call: The call that the refusal recommends, such as ``room.publish, message``.
    """

    __slots__ = ("_call", "_loop", "_thread")

    def __init__(self, call: str) -> None:
        self._call = call
        self._thread = 0
        self._loop: object = None

    def settle(self) -> None:
        """This loop is the one from now on."""
        self._thread = get_ident()
        self._loop = running_loop()

    def check(self) -> None:
        """Raise `RuntimeError` in another thread, or in another event loop of this thread."""
        if get_ident() != self._thread or running_loop() is not self._loop:
            raise RuntimeError(
                "a room belongs to the thread and the event loop of its members: from another "
                f"thread, call anyio.from_thread.run_sync({self._call})"
            )
