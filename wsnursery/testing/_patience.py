"""How long to wait in real time before an idle event loop counts as a deadlock."""

from __future__ import annotations

import threading
import time

IDLE_SECONDS = 1.0  # real seconds, because other threads may still wake the loop
PAUSE = 0.001  # real seconds between two checks


class Patience:
    """Decides when an idle event loop is deadlocked: at once, unless other threads run."""

    def __init__(self) -> None:
        self._idle_since: float | None = None

    def reset(self) -> None:
        """Start again, because something happened."""
        self._idle_since = None

    def exhausted(self) -> bool:
        """Return whether to give up now. Otherwise sleep for a moment."""
        if threading.active_count() == 1:
            return True
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since > IDLE_SECONDS:
            self._idle_since = None
            return True
        time.sleep(PAUSE)
        return False
