"""Describes where tasks wait that wait for ever."""

from __future__ import annotations

from collections.abc import Mapping

from wsnursery._backend.where import where_it_waits as where_it_waits


def describe_deadlock(tasks: Mapping[str, object]) -> str:
    """Return the text of a :class:`Deadlock`.

    Args:
        tasks: The name and the coroutine of each task.
    """
    waiting = [
        f"{name} waits {where}"
        for name, coroutine in sorted(tasks.items())
        if (where := where_it_waits(coroutine))
    ]
    return "; ".join(["deadlock: every task waits and no timer is set", *waiting])
