"""The worker classes, and what an application says that was written for another one."""

from __future__ import annotations

from wsnursery._backend.running import running_on_trio
from wsnursery._engine.outcome import leaves

WORKER_CLASSES = {"asyncio": "asyncio", "trio": "trio", "uvloop": "asyncio"}
"""The worker classes, and the backends on which they run."""


def wrong_backend(exc: BaseException) -> str | None:
    """The sentence for an application that uses one of trio and asyncio in a worker of the other.

    Args:
        exc: What the application raised.

    Returns:
        `None` if it is something else.
    """
    runs, uses = ("trio", "asyncio") if running_on_trio() else ("asyncio", "trio")
    if not any(_is_of_other_backend(leaf, uses) for leaf in leaves(exc)):
        return None
    return (
        f"the application uses {uses}, but this worker runs {runs}: "
        f"start it with `-k {uses}`, or worker_class = {uses!r} in the configuration"
    )


def _is_of_other_backend(exc: BaseException, uses: str) -> bool:
    text = str(exc)
    if uses == "trio":
        # What trio says that is called outside of it, and asyncio of what trio yields.
        is_yield = text.startswith("Task got bad yield: ") and "trio" in text
        return isinstance(exc, RuntimeError) and (
            is_yield or text == "must be called from async context"
        )
    return (isinstance(exc, RuntimeError) and text == "no running event loop") or (
        isinstance(exc, TypeError) and "some other framework like asyncio" in text
    )
