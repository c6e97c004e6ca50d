"""What must not happen, and costs nothing if it does."""

import pytest

from wsnursery import open_websocket, testing
from wsnursery._engine.outbox import SendTicket
from wsnursery._engine.sender import Sender
from wsnursery._engine.wire import NO_CONTROL


async def test_a_message_that_is_queued_while_the_sender_task_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """asyncio calls back one turn after a task has ended."""
    server = testing.Server()
    ended = Sender._ended
    late = [SendTicket("late", 4)]

    def queue_first(sender: Sender, error: BaseException | None) -> None:
        if late:
            sender._outbox.put(late.pop())
        ended(sender, error)

    monkeypatch.setattr(Sender, "_ended", queue_first)
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
            ws._connection.lifecycle.service_ended(ValueError("mine"))
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
