"""Say where a task waits: the file, the line and the function of the user's own code."""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

_LIBRARIES = (
    sysconfig.get_path("stdlib"),
    sysconfig.get_path("purelib"),
    str(Path(__file__).parent.parent),
)


def where_it_waits(awaitable: object) -> str:
    """Describe where a suspended coroutine waits, as ``"in handler (app.py:12)"``.

    The innermost frame outside the standard library, the installed packages and wsnursery; the
    innermost frame of all where there is no such.

    Returns:
        An empty string if it is not suspended in a coroutine.
    """
    frames = list(_frames(awaitable))
    if not frames:
        return ""
    own = [frame for frame in frames if not frame.f_code.co_filename.startswith(_LIBRARIES)]
    frame = (own or frames)[-1]
    name = frame.f_code.co_qualname
    return f"in {name} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"


def _frames(awaitable: Any) -> list[FrameType]:
    """The frames of a chain of awaits, the outermost first."""
    frames: list[FrameType] = []
    while awaitable is not None:
        for prefix in ("cr", "ag", "gi"):
            frame = getattr(awaitable, f"{prefix}_frame", None)
            if frame is not None:
                frames.append(frame)
                awaitable = getattr(awaitable, f"{prefix}_await", None) or getattr(
                    awaitable, f"{prefix}_yieldfrom", None
                )
                break
        else:
            return frames
    return frames


def describe_deadlock(tasks: Mapping[str, object]) -> str:
    """The text of a :class:`Deadlock`.

    Args:
        tasks: The name and the coroutine of each task.
    """
    waiting = [
        f"{name} waits {where}"
        for name, coroutine in sorted(tasks.items())
        if (where := where_it_waits(coroutine))
    ]
    return "; ".join(["deadlock: every task waits and no timer is set", *waiting])
