"""The worker classes, and the errors of an application that was written for another one."""

from __future__ import annotations

from wsnursery._backend.running import running_on_trio
from wsnursery._engine.outcome import leaves

WORKER_CLASSES = {"asyncio": "asyncio", "trio": "trio", "uvloop": "asyncio"}
"""The worker classes, and the backends on which they run."""


def wrong_backend(exc: BaseException) -> str | None:
    """Describe the error of an application that uses trio in an asyncio worker, or the reverse.

    Args:
        exc: The exception of the application.

    Returns:
        One sentence, or `None` if the exception has another reason.
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
        # asyncio raises the first error, for an object that a function of trio yields. trio raises
        # the second one, because no trio loop is running.
        is_yield = text.startswith("Task got bad yield: ") and "trio" in text
        return isinstance(exc, RuntimeError) and (
            is_yield or text == "must be called from async context"
        )
    return (isinstance(exc, RuntimeError) and text == "no running event loop") or (
        isinstance(exc, TypeError) and "some other framework like asyncio" in text
    )
