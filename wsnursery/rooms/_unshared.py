"""The warning about a room that has only the members of one of several worker processes."""

from __future__ import annotations

import logging
import os
from typing import Final

WORKERS_VARIABLE: Final = "WSNURSERY_WORKERS"
"""The environment variable in which `wsnursery.hypercorn` passes the number of workers to them."""

logger = logging.getLogger("wsnursery")


def number_of_workers() -> int:
    """Return the known number of worker processes that serve this application."""
    number = os.environ.get(WORKERS_VARIABLE, "")
    return int(number) if number.isdecimal() else 1


def warn_unshared(room: str, workers: int) -> None:
    """Warn that a room without an engine is limited to its process. Only the first call warns."""
    if not _names:
        _names.append(room)
        logger.warning(
            "room %r has the members of this one of %d workers, because it has no engine: use "
            "wsnursery.rooms.SharedRooms, or Room(name, local=True) if that is what you want",
            room,
            workers,
        )


_names: Final[list[str]] = []
"""The room of the warning. It comes once per process, because there can be thousands of rooms."""
