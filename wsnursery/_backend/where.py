"""Describe where a task waits: the file, the line and the function of the user's own code."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable
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

    It names the innermost frame outside the standard library, the installed packages and wsnursery.
    If there is no such frame, it names the innermost frame of all.

    Returns:
        The description, or an empty string if the coroutine is not suspended.
    """
    return describe_place(_frames(awaitable))


def where_users_code_waits(awaitable: object) -> str:
    """As `where_it_waits`, but an empty string if none of the frames is the user's own."""
    return describe_place(frame for frame in _frames(awaitable) if is_users(frame))


def describe_place(frames: Iterable[FrameType]) -> str:
    """Describe where code stands, from its frames, outermost first; as `where_it_waits`."""
    found = list(frames)
    if not found:
        return ""
    own = [frame for frame in found if is_users(frame)]
    frame = (own or found)[-1]
    name = frame.f_code.co_qualname
    return f"in {name} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"


def is_users(frame: FrameType) -> bool:
    """Whether a frame is outside the standard library, the installed packages and wsnursery."""
    return not frame.f_code.co_filename.startswith(_LIBRARIES)


def _frames(awaitable: Any) -> list[FrameType]:
    """The frames of a chain of awaits, outermost first."""
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
