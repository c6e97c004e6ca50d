"""D3: a notified task, and its siblings in groups that the handler has opened."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from tests.contract._bench import Log, block, on
from wsnursery import WebSocket, WebSocketDisconnected, testing

SOON = 0.05
"""Seconds after the end of the notified task within which its siblings are cancelled."""

Tasks = Callable[[Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]], Awaitable[object]]
"""Runs a reader and another task in its own group."""


async def in_anyio_group(reader: Callable[[], Any], other: Callable[[], Any]) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(reader)
        group.start_soon(other)


async def in_nested_groups(reader: Callable[[], Any], other: Callable[[], Any]) -> None:
    async with anyio.create_task_group() as outer:
        outer.start_soon(other)
        async with anyio.create_task_group() as group:
            group.start_soon(reader)


async def in_gather(reader: Callable[[], Any], other: Callable[[], Any]) -> None:
    await asyncio.gather(reader(), other())


async def in_asyncio_group(reader: Callable[[], Any], other: Callable[[], Any]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(reader())
        group.create_task(other())


async def beside_a_task(reader: Callable[[], Any], other: Callable[[], Any]) -> None:
    reading = asyncio.create_task(reader())
    await other()
    await reading


async def in_nursery(reader: Callable[[], Any], other: Callable[[], Any]) -> None:
    import trio

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        nursery.start_soon(other)


STYLES: dict[str, list[Tasks]] = {
    "asyncio": [in_anyio_group, in_nested_groups, in_gather, in_asyncio_group, beside_a_task],
    "trio": [in_anyio_group, in_nested_groups, in_nursery],
}

in_every_group = pytest.mark.parametrize(
    ("anyio_backend", "style"),
    [
        pytest.param(backend, style, id=f"{backend}-{style.__name__}")
        for backend, styles in STYLES.items()
        for style in styles
    ],
    indirect=["anyio_backend"],
)
"""In every kind of group that the backend has."""


# contract: D3, D4
@in_every_group
@pytest.mark.parametrize("where", ["body", "child"])
async def test_the_siblings_are_cancelled_when_the_reader_has_ended(
    style: Tasks, where: str
) -> None:
    server, log = testing.Server(), Log()

    async def handle(ws: WebSocket) -> None:
        async def reader() -> None:
            async for _ in ws:
                pass
            log.note("reader")

        await style(reader, log.sleeper)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        if where == "body":
            await handle(ws)
        else:
            ws.start_soon(handle, ws)

    await block(server, body, (1, server.peer.close))
    assert log.moments["reader"] == pytest.approx(1, abs=0.01)
    assert 1 <= log.moments["sleeper"] <= 1 + SOON


# contract: D3
@in_every_group
async def test_not_before_the_reader_has_unwound(style: Tasks) -> None:
    """It may take its time, within the grace period, and its siblings run as long."""
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()

        async def reader() -> None:
            async for _ in ws:
                pass
            await anyio.sleep(2)
            log.note("reader")

        await style(reader, log.sleeper)

    await block(server, body, (1, server.peer.close))
    assert log.moments["reader"] == 3
    assert 3 <= log.moments["sleeper"] <= 3 + SOON


# contract: D3
@in_every_group
async def test_the_reader_that_catches_the_exception(style: Tasks) -> None:
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()

        async def reader() -> None:
            with suppress(WebSocketDisconnected):
                while True:
                    await ws.receive()
            log.note("reader")

        await style(reader, log.sleeper)

    await block(server, body, (1, server.peer.vanish))
    assert 1 <= log.moments["sleeper"] <= 1 + SOON


# contract: D3
@in_every_group
async def test_a_sender_that_was_notified_after_an_abnormal_end(style: Tasks) -> None:
    server, log = testing.Server(faults=[testing.FailSend(3, OSError("gone"))]), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()

        async def sender() -> None:
            with suppress(WebSocketDisconnected):
                while True:
                    await ws.send("x")
                    await anyio.sleep(1)
            log.note("sender")

        await style(sender, log.sleeper)

    await block(server, body)
    notified_at = log.moments["sender"]
    assert notified_at <= log.moments["sleeper"] <= notified_at + SOON


# contract: D3
async def test_the_bodys_own_task_keeps_its_group_for_the_grace_period() -> None:
    """The body itself is notified and has not finished: it may still need its other tasks."""
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as group:
            group.start_soon(log.sleeper)
            async for _ in ws:
                pass
            await anyio.sleep(2)
            log.note("body")
            group.cancel_scope.cancel()

    ended = await block(server, body, (1, server.peer.close))
    assert ended.error is None
    assert log.moments == {"body": 3, "sleeper": 3}


# contract: D3
async def test_a_reader_that_is_not_notified_yet_keeps_its_siblings() -> None:
    """It still works on a message that came before the end."""
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as group:
            group.start_soon(log.sleeper)

            async def reader() -> None:
                async for _ in ws:
                    await anyio.sleep(2)
                log.note("reader")

            group.start_soon(reader)

    def leave() -> None:
        server.peer.send_nowait("the last message")
        server.peer.close()

    await block(server, body, (1, leave))
    assert log.moments["reader"] == 3
    assert log.moments["sleeper"] >= 3


# contract: D3
async def test_what_the_grace_period_cuts_short_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = testing.Server()

    async def slow(ws: WebSocket) -> None:
        async for _ in ws:
            pass
        await anyio.sleep(60)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(slow, ws, name="the slow reader")
        await anyio.sleep_forever()

    with caplog.at_level(logging.INFO, "wsnursery"):
        await block(server, body, (1, server.peer.close))
    lines = [r.getMessage() for r in caplog.records if "the slow reader" in r.getMessage()]
    assert len(lines) == 1
    assert len(caplog.records) == 1


# contract: D3
@on("asyncio")
async def test_a_task_that_outlives_the_gather_of_its_reader() -> None:
    """`create_task` without a group: the tasks of the body are cancelled, too."""
    server, log = testing.Server(), Log()

    async def body(ws: WebSocket) -> None:
        await ws.accept()

        async def reader() -> None:
            async for _ in ws:
                pass

        reading = asyncio.create_task(reader())
        other = asyncio.create_task(asyncio.sleep(3600))
        try:
            await asyncio.wait([reading, other])
        finally:
            other.cancel()  # its starter must end a task without a group
        log.note("never")

    ended = await block(server, body, (1, server.peer.close))
    assert 1 <= ended.at <= 1 + SOON + 0.03
