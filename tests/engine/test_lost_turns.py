"""Rare orders of events, which must have no effect."""

import anyio
import anyio.to_thread
import pytest

from tests._helpers import be_cancelled_as_it_ends
from wsnursery import WebSocketDisconnected, open_websocket, testing
from wsnursery._engine.outbox import SendTicket
from wsnursery._engine.outcome import hidden_error
from wsnursery._engine.sender import Sender
from wsnursery._engine.websocket import connection_of
from wsnursery._engine.wire import NO_CONTROL


async def test_a_message_that_is_queued_while_the_sender_task_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """asyncio calls back one turn after a task has ended."""
    server = testing.Server()
    ended = Sender.ended
    late = [SendTicket("late", 4)]

    def queue_first(sender: Sender, error: BaseException | None) -> None:
        if late:
            sender._outbox.put(late.pop())
        ended(sender, error)

    monkeypatch.setattr(Sender, "ended", queue_first)
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        await ws.accept()
        await ws.send("first")
        assert await server.peer.receive() == "first"
        assert await server.peer.receive() == "late"


async def test_a_bug_in_a_service_task_leaves_the_block_with_a_note() -> None:
    server = testing.Server()
    with pytest.raises(ValueError, match="mine") as caught:
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
            connection_of(ws).lifecycle.service_ended(ValueError("mine"))
            await ws.receive()
    assert caught.value.__notes__ == ["this is a bug in wsnursery: please report it"]


async def test_an_attribute_that_does_not_exist() -> None:
    server = testing.Server()
    ws = open_websocket(server.scope, server.receive, server.send)
    with pytest.raises(AttributeError, match="no attribute 'recieve'"):
        ws.recieve  # noqa: B018


def test_without_an_incoming_side_nothing_is_controlled() -> None:
    NO_CONTROL.look_for_disconnect()
    NO_CONTROL.make_room()
    NO_CONTROL.stop()
    assert not NO_CONTROL.is_receiving


# contract: D3
async def test_a_reader_that_is_cancelled_in_the_turn_of_the_end() -> None:
    """It has not been notified, so its next call notifies it."""
    server = testing.Server()
    with pytest.raises(WebSocketDisconnected):
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
            await be_cancelled_as_it_ends(ws)


# contract: T5
async def test_a_receive_from_another_thread() -> None:
    server = testing.Server()
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        await ws.accept()

        def elsewhere() -> None:
            with pytest.raises(RuntimeError, match="event loop"):
                ws.receive().send(None)

        await anyio.to_thread.run_sync(elsewhere)


# contract: X4
def test_an_error_is_found_behind_an_end_that_was_handled_before() -> None:
    error, first, last = (
        ValueError("mine"),
        WebSocketDisconnected(1000),
        WebSocketDisconnected(1000),
    )
    first.__context__, last.__context__ = error, first

    def is_own(exc: BaseException) -> bool:
        return isinstance(exc, WebSocketDisconnected)

    assert hidden_error(last, is_own, lambda _: False) is error
    error.__context__ = None
    first.__context__ = None
    assert hidden_error(last, is_own, lambda _: False) is None
