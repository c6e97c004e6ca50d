"""The events of hooks: which, in which order, with which content; and hooks that fail."""

import dataclasses
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import pytest

from tests.contract._bench import Later, block
from tests.faults._opened import opened
from wsnursery import Room, WebSocket, WebSocketDisconnected, hooks, testing
from wsnursery.testing import FailSend, StallSend


class Story:
    """A hook that writes one line per event."""

    def __init__(self) -> None:
        self.events: list[hooks.Event] = []

    def __call__(self, event: hooks.Event) -> None:
        self.events.append(event)

    @property
    def lines(self) -> list[str]:
        """The events as text, without the parts that differ from run to run."""
        return [_line(event) for event in self.events]

    def of(self, kind: type[hooks.Event]) -> list[str]:
        """The lines of the events of one kind."""
        return [_line(event) for event in self.events if isinstance(event, kind)]


def _line(event: hooks.Event) -> str:
    facts = [
        getattr(event, field.name)
        for field in dataclasses.fields(event)
        if field.name not in ("connection", "time", "scope", "statistics")
    ]
    return " ".join([type(event).__name__, *map(str, facts)])


async def sleeper(*_: object) -> None:
    await anyio.sleep_forever()


async def observed(
    server: testing.Server,
    body: Callable[[WebSocket], Awaitable[object]],
    *later: Later,
    **options: Any,
) -> Story:
    """Run a body under a hook."""
    story = Story()
    await block(server, body, *later, hooks=[story], **options)
    return story


async def test_no_hooks() -> None:
    """The same things happen, and no event is made."""
    server = testing.Server(faults=[FailSend(2, OSError("gone"))])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(sleeper)
        ws.send_nowait("first")
        with pytest.raises(anyio.WouldBlock):
            ws.send_nowait("second")
        await anyio.sleep_forever()

    ended = await block(server, body, send_buffer=1)
    assert str(ended.own.__cause__) == "gone"


# ------------------------------------------------------------------------------ a life in events


async def test_a_life() -> None:
    server = testing.Server(path="/chat", subprotocols=["v1"])
    ids: list[UUID] = []

    async def body(ws: WebSocket) -> None:
        ids.append(ws.id)
        await ws.accept("v1")
        server.peer.send_nowait("été")
        await ws.send(await ws.receive())
        await ws.send(b"123")
        server.peer.close(4001, "bye")
        async for _ in ws:
            pass

    story = await observed(server, body)
    assert story.lines == [
        "Opened",
        "Accepted v1",
        "MessageReceived été 5",
        "MessageSent été 5",
        "MessageSent b'123' 3",
        "Disconnected 4001 bye False None",
        "TaskEnded 0 None False",
        "Closed 4001 bye None",
    ]
    assert {event.connection for event in story.events} == set(ids)
    assert ids[0].version == 4
    times = [event.time for event in story.events]
    assert times == sorted(times)
    first, last = story.events[0], story.events[-1]
    assert isinstance(first, hooks.Opened)
    assert first.scope is server.scope
    assert isinstance(last, hooks.Closed)
    assert (last.statistics.messages_received, last.statistics.messages_sent) == (1, 2)


async def test_your_own_close() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4002, "done")
        await anyio.sleep(1)

    assert (await observed(server, body)).lines == [
        "Opened",
        "Accepted None",
        "Disconnected 4002 done False None",
        "TaskEnded 0 None False",
        "Closed 4002 done None",
    ]


async def test_a_denied_origin() -> None:
    server, story = testing.Server(headers=[(b"origin", b"https://evil.example")]), Story()
    with pytest.raises(WebSocketDisconnected):
        async with opened(server, allowed_origins=["https://example.org"], hooks=[story]):
            raise AssertionError("the body must not run")
    assert [type(event) for event in story.events] == [
        hooks.Opened,
        hooks.Disconnected,
        hooks.TaskEnded,
        hooks.Closed,
    ]


# ---------------------------------------------------------------------------------- cancellations


async def test_a_send_that_fails() -> None:
    """Send fails, tasks are cancelled, they clean up, one exception with its cause."""
    error = OSError("gone")
    server = testing.Server(faults=[FailSend(2, error)])

    async def clean_up_slowly(ws: WebSocket) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(clean_up_slowly, ws)
        ws.start_soon(functools.partial(functools.partial(sleeper)), name=None)
        ws.start_soon(sleeper, name="a name")
        await anyio.sleep(1)
        ws.send_nowait("first")
        ws.send_nowait("second")
        await anyio.sleep_forever()

    story = await observed(server, body)
    *before, children_end, others_end, body_ends, slow_ends, closed = story.lines
    assert before == [
        "Opened",
        "Accepted None",
        "TaskStarted 1 test_a_send_that_fails.<locals>.clean_up_slowly",
        "TaskStarted 2 sleeper",
        "TaskStarted 3 a name",
        "SendFailed gone",
        "Dropped send 2",
        "Disconnected None  True gone",
        "Cancelled disconnected (0, 1, 2, 3)",
    ]
    # The scheduler decides which of the cancelled tasks runs first.
    assert {children_end, others_end, body_ends} == {
        f"TaskEnded {task} None True" for task in (0, 2, 3)
    }
    assert slow_ends == "TaskEnded 1 None True"
    assert closed.startswith("Closed None  the ")
    last = story.events[-1]
    assert isinstance(last, hooks.Closed)
    assert isinstance(last.outcome, WebSocketDisconnected)
    assert last.outcome.__cause__ is error


async def test_a_reader_may_finish_until_the_grace_period_is_over() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(sleeper, name="bystander")
        server.peer.close(1000)
        async for _ in ws:
            pass
        await anyio.sleep_forever()

    story = await observed(server, body, grace_period=3)
    assert story.of(hooks.Cancelled) == [
        "Cancelled disconnected (1,)",
        "Cancelled grace_period (0,)",
    ]
    bystander, late = (event.time for event in story.events if type(event) is hooks.Cancelled)
    assert late - bystander == pytest.approx(3)


async def test_a_child_that_fails() -> None:
    server = testing.Server()

    async def fail() -> None:
        raise ValueError("no")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(fail)
        await anyio.sleep_forever()

    story = await observed(server, body)
    assert story.lines[2:] == [
        "TaskStarted 1 test_a_child_that_fails.<locals>.fail",
        "TaskEnded 1 no False",
        "Cancelled failed (0,)",
        "TaskEnded 0 None True",
        "Disconnected 1011  False None",
        "Closed 1011  unhandled errors in the tasks of a WebSocket (1 sub-exception)",
    ]


async def test_a_body_that_fails_alone() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        raise ValueError("no")

    story = await observed(server, body)
    assert story.of(hooks.Cancelled) == []
    assert story.of(hooks.TaskEnded) == ["TaskEnded 0 no False"]
    assert story.lines[-1] == "Closed None  no"


async def test_a_child_that_fails_before_it_has_started() -> None:
    server = testing.Server()

    async def fail(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        raise ValueError("no")

    async def body(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="no"):
            await ws.start(fail, name="a service")

    story = await observed(server, body)
    assert story.lines[1:3] == ["TaskStarted 1 a service", "TaskEnded 1 no False"]


async def test_cancelled_from_outside() -> None:
    server, story = testing.Server(), Story()
    with anyio.CancelScope() as scope:

        async def body(ws: WebSocket) -> None:
            await ws.accept()
            ws.start_soon(sleeper)
            await anyio.sleep_forever()

        await block(server, body, (1, scope.cancel), hooks=[story])
    assert scope.cancelled_caught
    assert story.of(hooks.Cancelled) == ["Cancelled outside ()"]
    assert sorted(story.of(hooks.TaskEnded)) == ["TaskEnded 0 None True", "TaskEnded 1 None True"]
    last = story.events[-1]
    assert isinstance(last, hooks.Closed)
    assert isinstance(last.outcome, anyio.get_cancelled_exc_class())
    assert last.code == 1001


async def test_the_own_scope_cancelled() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.start_soon(sleeper)
        ws.cancel_scope.cancel()
        await anyio.sleep_forever()

    story = await observed(server, body)
    assert story.of(hooks.Cancelled) == ["Cancelled outside ()"]
    assert story.lines[-1] == "Closed 1000  None"


# ------------------------------------------------------------------------------------- buffers


async def test_a_full_receive_buffer() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(3):
            server.peer.send_nowait("x")
        await anyio.sleep(1)
        await ws.receive()
        await anyio.sleep(1)
        await ws.close()

    story = await observed(server, body, receive_buffer=1)
    # The third waited when the second had room, and the receiver held it when all was closed.
    assert story.of(hooks.BufferFull) == ["BufferFull receive"] * 2
    assert story.of(hooks.Dropped) == ["Dropped receive 1"] * 2
    assert story.lines.index("MessageReceived x 1") < story.lines.index("BufferFull receive")


async def test_a_full_send_buffer() -> None:
    server = testing.Server(faults=[StallSend(2)])

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        ws.send_nowait("in the server's hand")
        await anyio.sleep(1)
        ws.send_nowait("queued")
        with pytest.raises(anyio.WouldBlock):
            ws.send_nowait("too many")
        ws.cancel_scope.cancel()

    story = await observed(server, body, send_buffer=1)
    assert story.of(hooks.BufferFull) == ["BufferFull send"]


async def test_messages_that_no_task_reads() -> None:
    """Messages that are unread when the block is left are dropped there."""
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        server.peer.send_nowait("read")
        server.peer.send_nowait("unread")
        server.peer.close()
        await ws.receive()

    story = await observed(server, body)
    assert story.lines[-2:] == ["Dropped receive 1", "Closed 1000  None"]


async def test_a_slow_member_of_a_room() -> None:
    server, room = testing.Server(faults=[StallSend(2)]), Room("a room")

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        with room.joined(ws, overflow="drop_oldest"):
            for number in range(4):
                room.publish(str(number))
                await anyio.sleep(1)
        ws.cancel_scope.cancel()

    story = await observed(server, body, send_buffer=2)
    assert story.of(hooks.BufferFull) == ["BufferFull send"]
    assert story.of(hooks.Dropped)[0] == "Dropped send 1"


# --------------------------------------------------------------------------------- the hooks


async def greet(ws: WebSocket) -> None:
    await ws.accept()
    await ws.send("hello")


async def test_all_are_notified_in_order() -> None:
    told_first: list[str] = []
    told_all: list[str] = []

    def first(event: hooks.Event) -> None:
        told_first.append(type(event).__name__)
        told_all.append("first")

    def second(event: hooks.Event) -> None:
        told_all.append("second")

    await block(testing.Server(), greet, hooks=[first, second])
    assert told_first == [
        "Opened",
        "Accepted",
        "MessageSent",
        "TaskEnded",
        "Disconnected",
        "Closed",
    ]
    assert told_all == ["first", "second"] * 6


async def test_a_hook_that_fails_is_logged_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    story, calls = Story(), 0

    def broken(event: hooks.Event) -> None:
        nonlocal calls
        calls += 1
        if isinstance(event, hooks.Accepted):
            raise ValueError("a bug of the hook")

    with caplog.at_level(logging.DEBUG, "wsnursery"):
        for _ in range(2):
            ended = await block(testing.Server(), greet, hooks=[broken, story])
            assert ended.error is None
    assert calls == 4  # two for each connection
    assert len(story.events) == 12
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(records) == 2
    assert "a hook failed on Accepted" in records[0].getMessage()
    assert records[0].exc_info is not None
    assert str(records[0].exc_info[1]) == "a bug of the hook"


@pytest.mark.parametrize("alone", [True, False])
async def test_a_hook_may_be_spared_the_messages(alone: bool) -> None:
    class Spared(Story):
        messages = False

    spared, other = Spared(), Story()
    options = [spared] if alone else [spared, other]
    await block(testing.Server(), greet, hooks=options)
    assert spared.of(hooks.MessageSent) == []
    assert len(spared.events) == 5
    assert len(other.events) == (0 if alone else 6)


async def test_a_hook_may_queue_messages_on_other_connections() -> None:
    dashboard = testing.Server()
    async with opened(dashboard) as other:
        await other.accept()

        def show(event: hooks.Event) -> None:
            other.send_nowait(type(event).__name__)

        async with opened(testing.Server(), hooks=[show]) as ws:
            await greet(ws)
        await other.flush()
    assert dashboard.peer.pending == 6
