"""Clients of a demonstration in memory."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio

from examples.demonstration.application import Demonstration
from wsnursery import testing

HOST = b"127.0.0.1:8000"
HEADERS = [(b"host", HOST), (b"origin", b"http://" + HOST)]

Json = dict[str, Any]


class Stage:
    """A demonstration whose lifespan has begun.

    Attributes:
        app: The application.
        stopped: A page has asked for the end.
    """

    def __init__(self) -> None:
        self.stopped = anyio.Event()
        self.app = Demonstration(
            (HOST.decode(), "localhost:8000"), {"backend": "any"}, self.stopped.set
        )

    def connect(
        self, path: str, query: bytes = b"", **options: Any
    ) -> AbstractAsyncContextManager[testing.Client]:
        """A client of it, from one of its own pages."""
        options = {"headers": HEADERS, "send_queue": 100_000, **options}
        return testing.connect(self.app, path=path, query_string=query, **options)

    async def get(
        self, path: str, query: bytes = b"", host: bytes = HOST
    ) -> tuple[int, Json, bytes]:
        """Status, headers and body of an HTTP answer."""
        sent: list[Json] = []

        async def send(event: Json) -> None:
            sent.append(event)

        scope = {"type": "http", "path": path, "query_string": query, "headers": [(b"host", host)]}
        await self.app(scope, testing.Server().receive, send)
        start, body = sent
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, body["body"]


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """A demonstration between its startup and its shutdown."""
    stage, sent = Stage(), list[str]()
    over = anyio.Event()
    phases = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Json:
        phase = next(phases)
        if phase == "lifespan.shutdown":
            await over.wait()
        return {"type": phase}

    async def send(event: Json) -> None:
        sent.append(event["type"])

    async with anyio.create_task_group() as group:
        group.start_soon(stage.app, {"type": "lifespan"}, receive, send)
        await anyio.wait_all_tasks_blocked()
        assert sent == ["lifespan.startup.complete"]
        yield stage
        over.set()
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def until(client: testing.Peer, key: str) -> Any:
    """The value of the next message that has the key."""
    while True:
        found: Json = json.loads(await client.receive())
        if key in found:
            return found[key]


async def until_true(client: testing.Peer, key: str, condition: Any) -> Any:
    """The next such value for which the condition holds."""
    while not condition(value := await until(client, key)):
        pass
    return value
