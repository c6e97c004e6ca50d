"""A service task: a task of the connection itself, which runs while it is needed.

It outlives the user's tasks: no cancel scope around the block affects it, and only the connection
cancels it. It never raises. The connection is notified of its end, and waits for that before the
block is left.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio

from wsnursery._backend.backend import Backend


class ServiceTask:
    """Runs from its creation to its end.

    Args:
        backend: Starts it.
        name: Its name, for debuggers.
        work: What it does.
        ended: Called when it has ended, with its exception if there was one: a bug, an interrupt,
            or a cancellation of the whole event loop.
    """

    __slots__ = ("_ended", "_scope", "_task", "_work")

    def __init__(
        self,
        backend: Backend,
        name: str,
        work: Callable[[], Coroutine[Any, Any, None]],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self._scope = backend.cancel_scope()
        self._work = work
        self._ended: Callable[[BaseException | None], None] | None = ended
        # Keep a reference, because asyncio keeps none to a task that waits.
        self._task = backend.spawn(self._run, name, self._tell)

    def cancel(self) -> None:
        """Cancel it. It ends soon if its current call can be cancelled."""
        self._scope.cancel()

    async def _run(self) -> None:
        error: BaseException | None = None
        try:
            with self._scope:
                await self._work()
        except anyio.get_cancelled_exc_class() as exc:
            error = exc  # the whole event loop is being cancelled
            raise
        except BaseException as exc:  # noqa: BLE001 - the connection decides
            error = exc
        finally:
            self._tell(error)
            del error  # its traceback has this frame, which would be a reference cycle

    def _tell(self, error: BaseException | None) -> None:
        """Notify the connection once of the end, even if the task never made its first step."""
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(error)
