"""Clients that go from worker to worker and resume by their position, while Redis has faults."""

import os
import random
from contextlib import suppress

import anyio
import pytest

from tests.servers._redis import needs_redis, redis_server
from tests.servers._redis_world import PATIENCE, ROOM, world
from wsnursery import Options, open_websocket, testing
from wsnursery.rooms import Position

pytestmark = [needs_redis, pytest.mark.anyio]

SEEDS = range(int(os.environ.get("WSNURSERY_SEEDS", "1")))

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


class Wanderer:
    """A client that keeps the position of the last message, and nothing else."""

    def __init__(self):
        self.at = None
        self.texts: list[str] = []
        self.positions: list[str] = []
        self.reported = 0
        self.visits = 0

    async def visit(self, rooms, seconds, enough=10**9):
        """Connect to a worker, resume, and go again: then, or once so many messages are there."""
        server = testing.Server(send_queue=10**6)
        big = Options(send_buffer=10**5, send_buffer_bytes=2**28)
        async with open_websocket(server.scope, server.receive, server.send, options=big) as ws:
            await ws.accept()
            with rooms.joined(ROOM, ws, after=self.at) as member:
                try:
                    if self.at is None:  # without a position, it could not resume at all
                        await self.synchronized(member)
                    with anyio.move_on_after(seconds):
                        while server.peer.pending < enough:  # noqa: ASYNC110
                            await anyio.sleep(0.005)
                finally:  # its messages and the reported gaps belong together
                    while server.peer.pending:
                        self.take(str(server.peer.receive_nowait()))
                    self.reported += member._unseen
                    if self.at is None:
                        self.at = member.position
        self.visits += 1

    async def synchronized(self, member):
        with anyio.fail_after(PATIENCE):
            while member.position is None:  # noqa: ASYNC110 - there is no event for this
                await anyio.sleep(0.01)

    def take(self, message):
        position, text = message.split(" ", 1)
        self.at = Position.parse(position)
        self.texts.append(text)
        self.positions.append(position)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", ["connections", "always", "none"])
async def test_clients_that_wander_have_no_hole_and_no_repetition(fault, seed):
    rng = random.Random(seed)
    with redis_server(*(ALWAYS if fault == "always" else ())) as redis:
        async with world() as here:
            workers = [await here.worker(redis.tcp_url) for _ in range(2)]
            wanderers = [Wanderer() for _ in range(5)]
            for rooms in workers:
                await here.member(rooms)

            async def wander(wanderer):
                while True:
                    await wanderer.visit(rng.choice(workers), rng.uniform(0.02, 0.2))

            async with anyio.create_task_group() as group:
                for wanderer in wanderers:
                    await wanderer.visit(workers[0], 0.01)
                    group.start_soon(wander, wanderer)
                async with here.publishing():
                    for _ in range(2):
                        await anyio.sleep(rng.uniform(0.2, 0.5))
                        if fault == "connections":
                            redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
                        else:
                            redis.kill()
                            await anyio.sleep(0.05)
                            await anyio.to_thread.run_sync(redis.start)
                    await anyio.sleep(0.2)
                group.cancel_scope.cancel()
            await here.settled()
            for wanderer in wanderers:
                with suppress(TimeoutError), anyio.fail_after(PATIENCE):
                    while not (wanderer.texts and wanderer.texts[-1].startswith("last")):
                        await wanderer.visit(workers[1], 0.2)
                assert len(set(wanderer.positions)) == len(wanderer.positions), "a repetition"
                missing = set(here.sent) - set(wanderer.texts)
                if fault == "none":
                    assert bool(wanderer.reported) >= bool(missing)
                else:
                    assert len(set(wanderer.texts)) == len(wanderer.texts), "a repetition"
                    assert (wanderer.reported, missing) == (0, set())


async def test_no_call_to_redis_for_a_client_that_resumes():
    with redis_server() as redis:
        async with world() as here:
            rooms = await here.worker(redis.tcp_url)
            await here.member(rooms)
            positions = [await rooms.publish_confirmed(ROOM, str(number)) for number in range(50)]
            await here.until(lambda: len(here.members[0].got) == 50)

            def snapshots():
                return redis.cli("INFO", "commandstats").partition("cmdstat_lrange:calls=")[2][:3]

            before = snapshots()
            for index, position in enumerate(positions[:20]):
                wanderer = Wanderer()
                wanderer.at = position
                missed = [str(number) for number in range(index + 1, 50)]
                await wanderer.visit(rooms, PATIENCE, enough=len(missed))
                assert wanderer.texts == missed
            assert snapshots() == before
