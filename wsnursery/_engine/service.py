"""The connection's own tasks, and what they have in common.

They outlive the application's tasks, each in a shielded scope that only the connection cancels.
They never raise: they note what happened and end the connection.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import anyio

from .outcome import Source

if TYPE_CHECKING:
    from .connection import Connection


class Service(ABC):
    """One of the connection's own tasks: the receiver, the sender or the watchdog."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options = connection.options
        self._transport = connection.transport
        self._native = connection.native
        self._scope: anyio.CancelScope | None = None
        """Around the running task; `None` before it has been started and after it has ended."""

    @property
    def is_running(self) -> bool:
        """It has been started and has not ended."""
        return self._scope is not None

    def start(self) -> None:
        """Start the task."""
        group = self._connection.service_group
        assert group is not None
        self._scope = anyio.CancelScope(shield=True)
        group.start_soon(self._run, self._scope, name=f"wsnursery {type(self).__name__.lower()}")

    def stop(self) -> None:
        """Cancel the task, if it is running."""
        if self._scope is not None:
            self._scope.cancel()

    @abstractmethod
    async def work(self) -> None:
        """What the task does."""

    async def _run(self, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                await self.work()
        except anyio.get_cancelled_exc_class():
            # Not ours: the whole event loop is being cancelled.
            self._connection.break_off(None)
            raise
        except BaseException as exc:  # noqa: BLE001 - it leaves through the block
            if isinstance(exc, Exception):
                exc.add_note("this is a bug in wsnursery: please report it")
            self._connection.fail(Source.CONNECTION, exc)
        finally:
            self._scope = None
            self._connection.service_ended()
