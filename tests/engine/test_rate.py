"""`Options.max_messages_per_second`: a peer that sends more in the long run gets 1008."""

import anyio
import pytest

from tests.contract._bench import block, closes
from wsnursery import Options, WebSocket, testing


@pytest.mark.parametrize("incoming", ["buffer", "discard"])
async def test_a_burst_too_many(incoming: str) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(6):
            await server.peer.send(str(number))
        await anyio.sleep_forever()

    ended = await block(server, body, max_messages_per_second=1, message_burst=5, incoming=incoming)
    assert (ended.own.code, ended.own.reason) == (1008, "too many messages")
    assert closes(server) == ["app close 1008 too many messages"]


async def test_what_came_before_can_be_read() -> None:
    server = testing.Server()
    seen: list[str | bytes] = []

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for number in range(10):
            await server.peer.send(str(number))
        await anyio.sleep(1)
        seen.extend([message async for message in ws])

    ended = await block(server, body, max_messages_per_second=1, message_burst=5)
    assert ended.error is None
    assert seen == ["0", "1", "2", "3", "4"]


async def test_a_peer_that_keeps_to_the_rate() -> None:
    server = testing.Server()

    async def send() -> None:
        for _ in range(50):
            await server.peer.send("x")
            await anyio.sleep(0.5)
        server.peer.close()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        assert ws.close_code == 1000
        assert ws.statistics().messages_received == 50

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        assert (await block(server, body, max_messages_per_second=2, message_burst=1)).error is None


async def test_without_a_limit_nothing_is_counted() -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        for _ in range(2000):
            await server.peer.send("x")
            await ws.receive()

    assert (await block(server, body)).error is None
    assert Options().max_messages_per_second is None
