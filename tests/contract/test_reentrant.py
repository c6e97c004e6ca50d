"""S1, B1: a raw send, a hook or a logger that uses the connection that is sending."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest

from tests.contract._bench import checkpoints
from wsnursery import Options, Room, WebSocket, hooks, open_websocket, testing

Again = Callable[[str], object]
"""Sends a message to the connection, from inside its raw send."""


class Middleware:
    """A `send` that notes every message of the application somewhere, before it passes it on."""

    def __init__(self, server: testing.Server, waits: int) -> None:
        self.server = server
        self.note: Again | None = None
        self.sending = self.most = 0
        self._waits = waits

    async def __call__(self, event: Any) -> None:
        self.sending += 1
        self.most = max(self.most, self.sending)
        if event["type"] == "websocket.send" and self.note is not None:
            note, self.note = self.note, None
            note(f"audit of {event['text']}")
        await checkpoints(self._waits)
        await self.server.send(event)
        self.sending -= 1


async def conversation(
    waits: int, by: str, warm: bool, again: str
) -> tuple[list[str], int, list[str]]:
    """Send two messages, of which the first raw send uses the connection. Return what was sent."""
    server = testing.Server()
    middleware = Middleware(server, waits)
    room = Room("audit")
    async with (
        testing.no_leaks(),
        open_websocket(server.scope, server.receive, middleware) as ws,
    ):
        await ws.accept()
        if warm:
            await ws.send("warm")
            await anyio.sleep(0.1)
        with room.joined(ws), anyio.fail_after(5):
            ways: dict[str, Again] = {
                "publish": room.publish,
                "send_nowait": ws.send_nowait,
                "child": lambda text: ws.start_soon(ws.send, text),
            }
            middleware.note = ways[again]
            if by == "send":
                await ws.send("one")
            elif by == "send_nowait":
                ws.send_nowait("one")
            else:
                room.publish("one")
            await ws.send("two")
            await ws.flush()
            await anyio.sleep(0.1)
    sent = [str(message) for message in server.transcript.from_app if message != "warm"]
    return sent, middleware.most, server.transcript.violations


# contract: S1, B1
async def test_a_send_that_publishes_to_a_room_of_its_own() -> None:
    await leads_back("publish")


# contract: S1, B1
async def test_a_send_that_sends_to_its_own_connection() -> None:
    await leads_back("send_nowait")


async def leads_back(again: str) -> None:
    """The message is queued after the one in flight."""
    problems = []
    for waits in (0, 1, 3):
        for by in ("send", "send_nowait", "publish"):
            for warm in (True, False):
                try:
                    sent, most, violations = await conversation(waits, by, warm, again)
                except Exception as exc:  # noqa: BLE001 - it is reported
                    problems.append(f"{waits} {by} {warm}: {exc!r}")
                    continue
                # A message without a waiting call is sent after the messages that were queued
                # before it.
                good = (["one", "audit of one", "two"], ["one", "two", "audit of one"])
                if sent not in (good if by != "send" else good[:1]):
                    problems.append(f"{waits} {by} {warm}: {sent}")
                if most != 1 or violations:
                    problems.append(f"{waits} {by} {warm}: {most} at once, {violations}")
    assert problems == []


# contract: S1, B1
async def test_a_child_that_a_raw_send_starts() -> None:
    for waits in (0, 1, 3):
        for warm in (True, False):
            sent, most, violations = await conversation(waits, "send", warm, "child")
            assert sorted(sent) == ["audit of one", "one", "two"]
            assert most == 1
            assert violations == []


# contract: S1, B1
async def test_a_hook_that_sends_to_its_own_connection() -> None:
    server = testing.Server()
    made: list[WebSocket] = []

    def echo(event: hooks.Event) -> None:
        if isinstance(event, hooks.MessageSent) and event.message in ("one", b"one"):
            made[0].send_nowait("from the hook")

    async with open_websocket(
        server.scope, server.receive, server.send, options=Options(hooks=[echo])
    ) as ws:
        made.append(ws)
        await ws.accept()
        await ws.send("warm")
        await anyio.sleep(0.1)
        await ws.send("one")
        await ws.send("two")
        await ws.flush()
    assert server.transcript.from_app == ["warm", "one", "from the hook", "two"]


@contextmanager
def handling(handle: Callable[[str], object]) -> Iterator[None]:
    """Attach a logging handler that sends."""

    class Sends(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            handle(record.getMessage())

    handler, logger = Sends(), logging.getLogger("the middleware")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


# contract: S1, B1
async def test_a_logger_that_sends() -> None:
    server = testing.Server()
    middleware = Middleware(server, 1)
    async with open_websocket(server.scope, server.receive, middleware) as ws:
        await ws.accept()
        await ws.send("warm")
        await anyio.sleep(0.1)
        with handling(ws.send_nowait):
            middleware.note = logging.getLogger("the middleware").info
            await ws.send("one")
            await ws.send("two")
        await ws.flush()
    assert server.transcript.from_app == ["warm", "one", "audit of one", "two"]


async def in_room(
    room: Room, server: testing.Server, options: Options, joined: anyio.Event
) -> None:
    async with open_websocket(server.scope, server.receive, server.send, options=options) as ws:
        await ws.accept()
        await ws.send("warm")
        with room.joined(ws):
            joined.set()
            async for _ in ws:
                pass


# contract: S1, B1
@pytest.mark.parametrize("members", [2, 5])
async def test_every_member_sees_the_order_of_the_calls(members: int) -> None:
    """A hook that publishes while the room delivers."""
    for who in range(members):
        room = Room("r")
        servers = [testing.Server() for _ in range(members)]
        left = ["second", "third"]

        def publishes(event: hooks.Event, room: Room = room, left: list[str] = left) -> None:
            if isinstance(event, hooks.MessageSent) and event.message != "warm" and left:
                room.publish(left.pop(0))

        async with anyio.create_task_group() as tasks:
            for at, server in enumerate(servers):
                joined = anyio.Event()
                options = Options(hooks=[publishes] if at == who else [])
                tasks.start_soon(in_room, room, server, options, joined)
                await joined.wait()
            await anyio.sleep(0.1)
            room.publish("first")
            await anyio.sleep(0.1)
            for server in servers:
                server.peer.close()
        for server in servers:
            assert server.transcript.from_app == ["warm", "first", "second", "third"]
