"""How long to wait, really, before calling an idle event loop a deadlock."""

from __future__ import annotations

import threading
import time

IDLE_SECONDS = 1.0  # real seconds; other threads may still have something to say
PAUSE = 0.001  # real seconds between two looks


class Patience:
    """Decides when an idle event loop is a dead one: at once, unless other threads live."""

    def __init__(self) -> None:
        self._idle_since: float | None = None

    def reset(self) -> None:
        """Something happened."""
        self._idle_since = None

    def exhausted(self) -> bool:
        """Nothing happened: whether to give up now. Sleeps for a moment if not."""
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
