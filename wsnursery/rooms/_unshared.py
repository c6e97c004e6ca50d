"""The warning for a room that has only the members of one of several worker processes."""

from __future__ import annotations

import logging
import os
from typing import Final

WORKERS_VARIABLE: Final = "WSNURSERY_WORKERS"
"""Environment variable in which `wsnursery.hypercorn` tells its worker processes how many they
are."""

logger = logging.getLogger("wsnursery")


def number_of_workers() -> int:
    """How many worker processes serve this application, as far as is known."""
    number = os.environ.get(WORKERS_VARIABLE, "")
    return int(number) if number.isdecimal() else 1


def warn_unshared(room: str, workers: int) -> None:
    """Say that a room without an engine ends at its process. Only the first call does."""
    if not _names:
        _names.append(room)
        logger.warning(
            "room %r has the members of this one of %d workers, because it has no engine: use "
            "wsnursery.rooms.SharedRooms, or Room(name, local=True) if that is what you want",
            room,
            workers,
        )


_names: Final[list[str]] = []
"""The room that was named. Once per process, because there can be thousands of rooms by name."""
