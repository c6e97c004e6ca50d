"""The raw receive and send of the in-memory server."""

import dataclasses

import anyio
import pytest

from wsnursery import testing
from wsnursery.testing import Personality, Server

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close", "code": 4000, "reason": "enough"}
HELLO = {"type": "websocket.send", "text": "hello"}
DISCONNECT = {"type": "websocket.disconnect"}


async def accepted(rules: Personality = testing.SILENT, **arguments) -> Server:
    server = Server(personality=rules, **arguments)
    assert await server.receive() == {"type": "websocket.connect"}
    await server.send(ACCEPT)
    return server


async def test_messages_both_ways():
    server = await accepted()
    await server.peer.send("text")
    await server.peer.send(b"bytes")
    assert await server.receive() == {"type": "websocket.receive", "text": "text"}
    assert await server.receive() == {"type": "websocket.receive", "bytes": b"bytes"}
    await server.send(HELLO)
    for data in (b"a", bytearray(b"b"), memoryview(b"c")):
        await server.send({"type": "websocket.send", "bytes": data})
    assert [await server.peer.receive() for _ in range(4)] == ["hello", b"a", b"b", b"c"]


async def test_both_payload_keys():
    server = await accepted(testing.HYPERCORN_TRIO)
    await server.peer.send("text")
    event = {"type": "websocket.receive", "text": "text", "bytes": None}
    assert await server.receive() == event


async def test_a_send_without_a_message():
    server = await accepted()
    with pytest.raises(TypeError, match=r"websocket\.send needs 'text' or 'bytes'"):
        await server.send({"type": "websocket.send"})


async def test_messages_before_the_accept_wait():
    server = Server()
    server.peer.send_nowait("early")
    await server.receive()
    with anyio.move_on_after(1):
        await server.receive()
        pytest.fail("delivered before the accept")
    await server.send(ACCEPT)
    assert (await server.receive())["text"] == "early"


@pytest.mark.parametrize(
    ("rules", "end", "event"),
    [
        (testing.SILENT, (4001, "bye"), {"code": 4001, "reason": "bye"}),
        (testing.SILENT, (None, ""), {"code": 1005, "reason": ""}),
        (testing.SILENT, "vanish", {"code": 1006}),
        (testing.HYPERCORN_TRIO, (4001, "bye"), {"code": 1006}),
        (testing.HYPERCORN_TRIO, "vanish", {"code": 1006}),
        (testing.UVICORN, "vanish", {"code": 1005}),
        (testing.DAPHNE, (None, ""), {"code": None}),
        (dataclasses.replace(testing.SILENT, reports_code=False), "vanish", {}),
    ],
)
async def test_the_disconnect_event(rules, end, event):
    server = await accepted(rules)
    server.peer.vanish() if end == "vanish" else server.peer.close(*end)
    assert await server.receive() == DISCONNECT | event


async def test_after_the_disconnect_event():
    hanging, repeating = await accepted(), await accepted(testing.UVICORN_LEGACY)
    for server in (hanging, repeating):
        server.peer.vanish()
        await server.receive()
    with anyio.move_on_after(60) as scope:
        await hanging.receive()
    assert scope.cancelled_caught
    assert await repeating.receive() == DISCONNECT | {"code": 1005}


async def test_unread_messages_come_before_the_disconnect():
    server = await accepted()
    await server.peer.send("last")
    server.peer.vanish()
    assert (await server.receive())["text"] == "last"
    assert (await server.receive())["type"] == "websocket.disconnect"


@pytest.mark.parametrize("loses", [True, False])
async def test_a_receive_that_is_cancelled_as_its_event_arrives(loses):
    server = await accepted(dataclasses.replace(testing.SILENT, cancelled_receive_loses=loses))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.receive)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        server.peer.send_nowait("hello")
    assert server.peer.unread == (0 if loses else 1)


async def test_a_receive_that_is_cancelled_loses_nothing_when_there_is_nothing():
    server = await accepted(testing.GRANIAN)
    with anyio.move_on_after(1):
        await server.receive()
    await server.peer.send("hello")
    assert (await server.receive())["text"] == "hello"


async def test_faults_of_receive():
    unknown = {"type": "unknown"}
    server = Server(faults=[testing.Garbage(1, unknown), testing.FailReceive(2, OSError("no"))])
    assert await server.receive() == unknown
    with pytest.raises(OSError, match="no"):
        await server.receive()
    assert server.transcript.lines == [
        "app receive {'type': 'unknown'}",
        "app fail receive raised OSError('no')",
    ]


async def test_a_send_waits_for_the_peer():
    server = await accepted(send_queue=1)
    await server.send(HELLO)
    with anyio.move_on_after(60) as scope:
        await server.send(HELLO)
    assert scope.cancelled_caught
    assert "app fail websocket.send was cancelled" in server.transcript.lines
    await server.peer.receive()
    await server.send(HELLO)
    assert server.transcript.violations == ["websocket.send after a raw send that was cancelled"]


async def test_a_shielded_send_cannot_be_cancelled():
    server = await accepted(testing.HYPERCORN_TRIO, send_queue=1)
    await server.send(HELLO)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.send, HELLO)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        server.peer.receive_nowait()
    assert server.transcript.from_app == ["hello", "hello"]


@pytest.mark.parametrize("notified", [True, False])
@pytest.mark.parametrize("rules", testing.BASIC, ids=lambda rules: rules.name)
async def test_a_late_send(rules, notified):
    server = await accepted(rules)
    server.peer.vanish()
    if notified:
        await server.receive()
    make = rules.notified_send if notified else rules.late_send
    if make is None:
        await server.send(HELLO)
        await server.send(CLOSE)
    else:
        with pytest.raises(type(make("websocket.send"))):
            await server.send(HELLO)
        with pytest.raises(type(make("websocket.close"))):
            await server.send(CLOSE)
    assert server.transcript.from_app == []


async def test_a_send_that_is_under_way_when_the_peer_vanishes():
    server = await accepted(send_queue=1)
    await server.send(HELLO)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.send, HELLO)
        await anyio.wait_all_tasks_blocked()
        server.peer.vanish()
    assert server.transcript.lines[-1] == "app late websocket.send"


async def test_a_late_send_that_waits_for_room_in_the_queue():
    server = await accepted(testing.HYPERCORN_ASYNCIO, receive_queue=1)
    await server.peer.send("a")
    server.peer.vanish()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.send, HELLO)
        await anyio.wait_all_tasks_blocked()
        assert (await server.receive())["text"] == "a"
    assert (await server.receive())["type"] == "websocket.disconnect"
    await server.send(HELLO)


async def test_cancelled_there_the_disconnect_event_is_lost():
    server = await accepted(testing.HYPERCORN_ASYNCIO, receive_queue=1)
    await server.peer.send("a")
    server.peer.vanish()
    with anyio.move_on_after(1):
        await server.send(HELLO)
    await server.receive()
    with anyio.move_on_after(60) as scope:
        await server.receive()
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    ("rules", "code"), [(testing.UVICORN, 4000), (testing.GRANIAN, 1005), (testing.SILENT, 4000)]
)
async def test_your_own_close(rules, code):
    server = await accepted(rules)
    await server.send(CLOSE)
    assert (await server.receive())["code"] == code
    with pytest.raises(testing.ConnectionEnded, match="4000 'enough'"):
        await server.peer.receive()
    with pytest.raises(RuntimeError, match=r"after sending 'websocket\.close'"):
        await server.send(HELLO)
    assert server.transcript.violations == ["websocket.send after the application had closed"]


async def test_a_close_that_waits_for_a_receive():
    server = await accepted(testing.GRANIAN)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.receive)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(server.send, CLOSE)
        await anyio.wait_all_tasks_blocked()
        assert server.transcript.app_close is None
        await server.peer.send("a")
    assert server.transcript.app_close == (4000, "enough")


async def test_two_at_once():
    server = await accepted(send_queue=1)
    await server.send(HELLO)
    async with anyio.create_task_group() as tasks:
        for call in (server.receive, server.receive):
            tasks.start_soon(call)
        for _ in range(2):
            tasks.start_soon(server.send, HELLO)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert set(server.transcript.violations) == {
        "two raw receives at once",
        "two raw sends at once",
    }


async def test_the_wrong_order():
    server = Server()
    with pytest.raises(RuntimeError, match=r"Expected ASGI message 'websocket\.accept'"):
        await server.send(HELLO)
    await server.send(ACCEPT)
    with pytest.raises(RuntimeError, match=r"Expected ASGI message 'websocket\.send'"):
        await server.send(ACCEPT)
    assert server.transcript.violations == [
        "websocket.send before websocket.accept",
        "websocket.accept after websocket.accept",
    ]


async def test_an_accept_when_the_peer_has_gone():
    server = Server()
    server.peer.vanish()
    await server.send(ACCEPT)
    assert server.transcript.lines == ["peer vanish", "app late websocket.accept"]


@pytest.mark.parametrize("rules", [testing.UVICORN, testing.HYPERCORN_TRIO])
async def test_a_plain_denial(rules):
    server = Server(personality=rules)
    await server.receive()
    await server.send({"type": "websocket.close"})
    assert server.transcript.lines[-1] == "app deny 403"
    with anyio.move_on_after(60) as scope:
        assert (await server.receive())["code"] == 1006
    assert scope.cancelled_caught == (rules is testing.HYPERCORN_TRIO)


async def test_a_denial_response():
    server = Server()
    start = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"a", b"b")]}
    body = {"type": "websocket.http.response.body", "body": b"no"}
    with pytest.raises(RuntimeError, match="already completed"):
        await server.send(body)
    await server.send(start)
    await server.send(body | {"more_body": True})
    await server.send(body)
    assert server.transcript.lines[-1] == "app deny 401"


async def test_a_denial_response_where_there_is_none():
    server = Server(personality=testing.DAPHNE)
    with pytest.raises(RuntimeError, match="already completed"):
        await server.send({"type": "websocket.http.response.start", "status": 401})
