"""What the tests of single modules share."""

from typing import cast

from anyio.abc import TaskGroup

from wsnursery._connection import Connection
from wsnursery._outcome import Source


class Owner:
    """What one of the connection's own tasks sees of its connection, and what it does to it."""

    def __init__(self, group: TaskGroup | None = None) -> None:
        self.options = self.transport = None
        self.service_group = group
        self.failures: list[tuple[Source, BaseException]] = []
        self.broken_off: list[BaseException | None] = []
        self.ended = 0

    @property
    def connection(self) -> Connection:
        """This, where a connection is wanted."""
        return cast("Connection", self)

    def fail(self, source: Source, error: BaseException) -> None:
        """Something failed that ends the application."""
        self.failures.append((source, error))

    def break_off(self, cause: BaseException | None) -> None:
        """End it as broken."""
        self.broken_off.append(cause)

    def service_ended(self) -> None:
        """One of the own tasks has ended."""
        self.ended += 1
