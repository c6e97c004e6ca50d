"""Connections to put into rooms, each over a server in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from tests._recognised import recognised
from wsnursery import Options, WebSocket, open_websocket, rooms, testing

in_place = False
"""The server's own callables are recognised; the fixture `over_both_paths` sets it."""


@asynccontextmanager
async def opened(
    options: Options = Options(), *, send_queue: int = 100_000, **server: Any
) -> AsyncIterator[tuple[WebSocket, testing.Peer]]:
    """An accepted connection, whose server takes all messages by default."""
    memory = testing.Server(send_queue=send_queue, **server)
    if in_place:
        block = recognised(memory, options)
    else:
        block = open_websocket(memory.scope, memory.receive, memory.send, options=options)
    async with block as ws:
        await ws.accept()
        yield ws, memory.peer


@asynccontextmanager
async def stalled(options: Options) -> AsyncIterator[tuple[WebSocket, testing.Peer, anyio.Event]]:
    """A connection whose server has one message in flight and takes no other until the event."""
    go_on = anyio.Event()
    fault = testing.StallSend(2, until=go_on)  # the first raw send is the accept
    async with opened(options, faults=[fault]) as (ws, peer):
        ws.send_nowait("in flight")
        await anyio.wait_all_tasks_blocked()
        try:
            yield ws, peer, go_on
        finally:
            go_on.set()


async def received(peer: testing.Peer) -> list[str | bytes]:
    """The messages that have reached a peer, after all tasks have run."""
    await anyio.wait_all_tasks_blocked()
    return [peer.receive_nowait() for _ in range(peer.pending)]


async def missed(member: rooms.Member, seconds: float = 1) -> int:
    """How many messages a member has missed by now, or misses in so many seconds."""
    with anyio.move_on_after(seconds):
        return await member.missed()
    return 0
