"""The lifespan of an application: entered at the start, left at the end, failures reported."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from wsnursery import WebSocket, websocket_app

log: list[str] = []
messages: list[str] = []


@asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    log.append("started")
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep_forever)
        yield
        group.cancel_scope.cancel()
    log.append("stopped")


async def handler(ws: WebSocket) -> None: ...


async def run(app: Any, *events: str) -> list[dict[str, Any]]:
    """What the application sends in a lifespan with these events."""
    sent: list[dict[str, Any]] = []
    waiting = list(events)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await anyio.sleep_forever()
        return {"type": waiting.pop(0)}

    async def send(event: dict[str, Any]) -> None:
        log.append(event["type"])
        messages.append(event.get("message", ""))
        sent.append(event)

    log.clear()
    await app({"type": "lifespan"}, receive, send)
    return sent


async def test_it_is_open_while_the_server_runs() -> None:
    app = websocket_app(handler, lifespan=lifespan)
    await run(app, "lifespan.startup", "lifespan.other", "lifespan.shutdown")
    assert log == [
        "started",
        "lifespan.startup.complete",
        "stopped",
        "lifespan.shutdown.complete",
    ]


async def test_a_start_that_fails() -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        await connect()
        yield

    async def connect() -> None:
        raise OSError("no database")

    app = websocket_app(lifespan=broken)(handler)
    with pytest.raises(OSError, match="no database"):
        await run(app, "lifespan.startup")
    assert log == ["lifespan.startup.failed"]


async def test_a_task_that_fails_while_the_server_runs() -> None:
    async def produce() -> None:
        await anyio.sleep(1)
        raise LookupError("no more data")

    @asynccontextmanager
    async def producing() -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(produce)
            yield

    app = websocket_app(handler, lifespan=producing)
    with pytest.raises(ExceptionGroup):
        await run(app, "lifespan.startup")
    assert "LookupError: no more data" in messages[-1]
    assert log == ["lifespan.startup.complete", "lifespan.shutdown.failed"]


async def undecorated() -> AsyncIterator[None]:
    yield


async def coroutine() -> None: ...


@asynccontextmanager
async def with_the_application(app: Any) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (undecorated, "write @asynccontextmanager above undecorated"),
        (coroutine, "write @asynccontextmanager above coroutine"),
        (lifespan(), "write its name without ()"),
        (with_the_application, "must take no arguments, but with_the_application takes (app: "),
        (3, "must be a function, got int"),
    ],
)
def test_what_cannot_be_a_lifespan(given: Any, advice: str) -> None:
    with pytest.raises(TypeError, match=re.escape(advice)):
        websocket_app(lifespan=given)


async def test_a_lifespan_that_is_given_its_arguments() -> None:
    app = websocket_app(handler, lifespan=partial(with_the_application, "an argument"))
    await run(app, "lifespan.startup", "lifespan.shutdown")
    assert log == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
