"""Scenarios of shared rooms: the engine and a member, each cancelled at every step.

What must hold whatever is injected: no task, no connection to Redis and no membership is left, and
the member receives no message twice or in another order.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from unittest.mock import patch

import anyio

from tests.explore.scenarios import LONGEST, Session, converse, judge, serve
from tests.redis._peer import OneRoom
from wsnursery import WebSocket
from wsnursery.redis import RedisEngine
from wsnursery.redis._address import Address
from wsnursery.rooms import Engine, MemoryEngine, Person, SharedRooms
from wsnursery.testing import Peer, Run

PATIENCE = 40.0
"""Virtual seconds that a part waits for another one, which may have been cancelled."""

SENT = ["a", "b", "c"]


async def over_memory(run: Run) -> None:
    """Shared rooms of one process."""
    await share(run, MemoryEngine())


async def over_redis(run: Run, make: Callable[[], OneRoom] = OneRoom) -> None:
    """Shared rooms over a Redis in memory, which may end its connection."""
    random.seed(0)  # so that the pauses before the engine reconnects are always the same
    redis = make()
    with patch.object(Address, "connect", redis.connect):
        await share(run, RedisEngine("redis://localhost"))
    assert all(stream.is_closed for stream in redis.streams)


async def share(run: Run, engine: Engine) -> None:
    """A member publishes to its own room, and leaves when its peer has everything."""
    rooms = SharedRooms(engine, history=10, linger=0)
    stop = anyio.CancelScope()
    missed: list[int] = []
    received: list[str] = []
    present: list[tuple[Person, ...]] = []

    async def carry() -> None:
        async with run.target():
            with stop:
                await rooms.run()

    async def body(ws: WebSocket, session: Session) -> None:
        await ws.accept()
        with rooms.joined("r", ws, metadata="Ann") as member:
            try:
                rooms.publish("r", "a")
                rooms.publish("r", "b")
                with anyio.move_on_after(PATIENCE):
                    await rooms.publish_confirmed("r", "c")
                async for message in ws:
                    session.got.append(str(message))
                    present.append(rooms.present("r"))
            finally:
                missed.append(member._unseen)

    async def talk(peer: Peer) -> None:
        with anyio.move_on_after(PATIENCE):
            while len(received) < len(SENT):
                received.append(str(await peer.receive()))
        await peer.send("all")
        peer.close()

    session = Session(run.server(timeout=LONGEST))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(carry)
        async with anyio.create_task_group() as conversation:
            conversation.start_soon(converse, run, session.server, talk)
            await serve(run, session, body)
        stop.cancel()
    # Without the engine, a member that waits for it learns late that its peer has closed.
    judge(run, session, peer_may_be_first=not run.quiet)
    assert received == [message for message in SENT if message in received]
    assert rooms.state != "live"
    assert rooms.statistics().rooms == 0
    if run.quiet:
        assert (received, missed, session.got) == (SENT, [0], ["all"])
        assert [person.metadata for people in present for person in people] == ["Ann"]
        assert rooms.statistics().held == 0
