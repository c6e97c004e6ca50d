"""The remote end."""

import anyio
import pytest

from tests.testing.test_asgi import ACCEPT, CLOSE, HELLO, accepted
from wsnursery import testing


async def test_it_waits_for_room():
    server = await accepted(receive_queue=1)
    await server.peer.send("a")
    with pytest.raises(anyio.WouldBlock):
        server.peer.send_nowait("b")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.peer.send, "b")
        await anyio.wait_all_tasks_blocked()
        assert server.peer.unread == 1
        await server.receive()
    assert server.transcript.from_peer == ["a", "b"]


async def test_it_does_not_wait_for_ever():
    server = await accepted(receive_queue=1, timeout=7)
    await server.peer.send("a")
    with pytest.raises(testing.ApplicationStuck, match="full of 1 messages for 7 seconds"):
        await server.peer.send("b")
    with pytest.raises(testing.ApplicationStuck, match="sent nothing for 7 seconds"):
        await server.peer.receive()


async def test_receiving_what_is_there():
    server = await accepted()
    with pytest.raises(anyio.WouldBlock):
        server.peer.receive_nowait()
    await server.send(HELLO)
    assert server.peer.pending == 1
    assert server.peer.receive_nowait() == "hello"


async def test_iterating():
    server = await accepted()
    await server.send(HELLO)
    await server.send(HELLO)
    await server.send(CLOSE)
    assert [message async for message in server.peer] == ["hello", "hello"]


@pytest.mark.parametrize(("code", "seen"), [(4001, 4001), (None, 1005)])
async def test_after_leaving(code, seen):
    server = await accepted()
    server.peer.close(code, "bye")
    server.peer.close(4002)
    server.peer.vanish()
    server.peer.answer_close()
    for call in (server.peer.receive(), server.peer.send("x")):
        with pytest.raises(testing.ConnectionEnded) as caught:
            await call
        assert (caught.value.code, caught.value.reason) == (seen, "bye")
    assert server.transcript.lines[-1].startswith("peer close")


async def test_a_peer_that_does_not_answer_the_close():
    server = await accepted(answers_close=False)
    server.peer.answer_close()
    await server.send(CLOSE)
    with anyio.move_on_after(60) as scope:
        await server.receive()
    assert scope.cancelled_caught
    server.peer.answer_close()
    assert (await server.receive())["code"] == 4000


async def test_the_form_of_the_event():
    server = await accepted(testing.HYPERCORN_TRIO)
    await server.peer.send(b"a")
    event = {"type": "websocket.receive", "text": None, "bytes": b"a"}
    assert await server.receive() == event


async def test_what_the_handshake_said():
    server = testing.Server(subprotocols=["chat"])
    accepted_before = server.peer.accepted
    await server.send(ACCEPT | {"subprotocol": "chat", "headers": [(b"a", b"b")]})
    assert (accepted_before, server.peer.accepted) == (False, True)
    assert server.peer.subprotocol == "chat"
    assert server.peer.response_headers == [(b"a", b"b")]
    assert server.peer.transcript is server.transcript
