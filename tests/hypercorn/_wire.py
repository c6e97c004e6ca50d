"""One network connection of Hypercorn's protocol classes, without a network."""

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import hypercorn.config
from anyio.abc import TaskGroup
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.events import Closed, RawData
from hypercorn.typing import ConnectionState

from wsnursery.hypercorn import Config
from wsnursery.hypercorn._protocol import Protocol


class Wire:
    """What the server has written, and the tasks of the connection."""

    def __init__(self, app: Any, config: hypercorn.config.Config, tasks: TaskGroup) -> None:
        self.written = b""
        self.is_closed = False
        self._tasks = tasks
        stand_in: Any = self
        self.protocol = Protocol(
            ASGIWrapper(app),
            config,
            stand_in,  # for the worker's context
            stand_in,  # and for the task group of the connection
            ConnectionState({}),
            False,
            ("127.0.0.1", 1),
            ("127.0.0.1", 2),
            self._send,
            "http/1.1",
        )

    async def receive(self, data: bytes) -> None:
        """The peer has sent data."""
        await self.protocol.handle(RawData(data))

    async def end(self) -> None:
        """The peer has closed."""
        await self.protocol.handle(Closed())

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", self.written)]

    async def _send(self, event: Any) -> None:
        if isinstance(event, RawData):
            self.written += event.data
        elif isinstance(event, Closed):
            self.is_closed = True

    # A worker's context.

    class event_class:  # noqa: N801 - Hypercorn's name
        def __init__(self) -> None:
            self._event = anyio.Event()

        async def set(self) -> None:
            self._event.set()

        async def clear(self) -> None:
            self._event = anyio.Event()

        async def wait(self) -> None:
            await self._event.wait()

        def is_set(self) -> bool:
            return self._event.is_set()

    @property
    def terminated(self) -> Any:
        return self.event_class()

    async def mark_request(self) -> None:
        pass

    # A worker's task group.

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._tasks.start_soon(function, *arguments)

    async def spawn_app(self, app: Any, config: Config, scope: Any, send: Any) -> Any:
        put, get = anyio.create_memory_object_stream[Any](config.max_app_queue_size)

        async def handle() -> None:
            with put, get:
                try:
                    await app(scope, get.receive, send, None, None)
                finally:
                    await send(None)

        self._tasks.start_soon(handle)
        return partial(put.send)


@asynccontextmanager
async def wired(app: Any, **settings: Any) -> AsyncGenerator[Wire]:
    """A connection to an application; its tasks are cancelled at the end."""
    async with anyio.create_task_group() as tasks:
        yield Wire(app, Config.from_mapping(settings), tasks)
        tasks.cancel_scope.cancel()
