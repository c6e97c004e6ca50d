"""Workers, members and publishers over a real Redis, and the account of what came of it."""

import random
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

from wsnursery import Options, open_websocket, testing
from wsnursery.redis import RedisEngine
from wsnursery.rooms import Position, SharedRooms

ROOM = "the room"

PROBE = 0.25
LEASE = 1.0

PATIENCE = 15.0
"""Seconds within which everything has come back."""


def stamp(message, position):
    return f"{position} {message}"


class Member:
    """A member, with its messages and the reported number of missed ones."""

    def __init__(self, member, peer):
        self.member = member
        self._peer = peer
        self._got: list[str] = []
        self.reported = 0

    @property
    def got(self):
        self._got += [str(self._peer.receive_nowait()) for _ in range(self._peer.pending)]
        return self._got

    @property
    def positions(self):
        return [Position.parse(message.split(" ", 1)[0]) for message in self.got]

    @property
    def texts(self):
        return [message.split(" ", 1)[1] for message in self.got]

    async def count(self):
        while True:
            self.reported += await self.member.missed()


class World:
    """What runs in one test."""

    def __init__(self, group):
        self.group = group
        self.workers: list[SharedRooms] = []
        self.members: list[Member] = []
        self.sent: list[str] = []
        self.refused: list[str] = []

    async def worker(self, url, *, history=1000, live=True, **options: Any):
        """A worker that runs."""
        settings: dict[str, Any] = {"probe": PROBE, "lease": LEASE} | options
        engine = RedisEngine(url, **settings)
        rooms = SharedRooms(engine, history=history, stamp=stamp, linger=0.2)
        self.workers.append(rooms)
        await self.group.start(rooms.run)
        if live:
            await self.until(lambda: rooms.state == "live")
        return rooms

    async def member(self, rooms, room=ROOM, *, synchronized=True, **options):
        """A member, whose connection is a task of its own."""
        member = await self.group.start(self._be_member, rooms, room, options)
        self.group.start_soon(member.count)
        if synchronized:
            await self.until(lambda: member.member.position is not None)
        return member

    async def _be_member(self, rooms, room, options, *, task_status):
        server = testing.Server(send_queue=10**6)
        big = Options(send_buffer=10**5, send_buffer_bytes=2**28)
        async with open_websocket(server.scope, server.receive, server.send, options=big) as ws:
            await ws.accept()
            with rooms.joined(room, ws, **options) as member:
                self.members.append(Member(member, server.peer))
                task_status.started(self.members[-1])
                await anyio.sleep_forever()

    async def publish(self, rooms, name, *, every=0.004):
        """Publish until cancelled."""
        number = 0
        while True:
            text = f"{name}{number}"
            number += 1
            (self.sent if rooms.publish(ROOM, text) else self.refused).append(text)
            await anyio.sleep(every)

    @asynccontextmanager
    async def publishing(self, *workers):
        """While the block lasts, each of these workers publishes."""
        async with anyio.create_task_group() as group:
            for index, rooms in enumerate(workers or self.workers):
                group.start_soon(self.publish, rooms, "ABCD"[index])
            yield
            group.cancel_scope.cancel()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so."""
        with anyio.fail_after(PATIENCE):
            while not condition():  # noqa: ASYNC110 - there is no event for all of this
                await anyio.sleep(0.01)

    async def settled(self):
        """Wait until all are back, everything held is numbered, and a last message has come."""
        await self.until(lambda: all(rooms.state == "live" for rooms in self.workers))
        await self.until(lambda: not any(rooms.statistics().held for rooms in self.workers))
        last = f"last {random.random()}"
        await self.workers[0].publish_confirmed(ROOM, last)
        self.sent.append(last)
        await self.until(lambda: all(last in member.texts[-1:] for member in self.members))
        await anyio.sleep(0.01)  # by now the missed messages are reported

    # ------------------------------------------------------------------------- the account

    def check_order(self):
        """One order, and no position twice."""
        for member in self.members:
            assert len(set(member.positions)) == len(member.positions), "a position came twice"
            numbers: dict[str, int] = {}
            for position in member.positions:
                assert position is not None
                assert position.number > numbers.get(position.epoch, 0), "the numbers do not grow"
                numbers[position.epoch] = position.number
        common = set.intersection(*(set(member.texts) for member in self.members))
        # A message whose answer Redis has lost with its data is published again, and comes twice
        # to those who had it: only the first time counts here.
        orders = [
            [text for text in dict.fromkeys(one.texts) if text in common] for one in self.members
        ]
        assert all(order == orders[0] for order in orders), "the orders differ"
        for name in "ABCD":
            own = [int(text[1:]) for text in dict.fromkeys(orders[0]) if text[0] == name]
            assert own == sorted(own), "the order of a publisher is not kept"

    def missing(self, member):
        return set(self.sent) - set(member.texts)

    def check_nothing_missing(self):
        """No loss, no repetition, and no false alarm."""
        self.check_order()
        for member in self.members:
            assert len(set(member.texts)) == len(member.texts), "a message came twice"
            assert not self.missing(member)
            assert member.reported == 0
            assert not set(member.texts) & set(self.refused)

    def check_nothing_silent(self, *, exact=False):
        """Every missing message was reported."""
        self.check_order()
        for member in self.members:
            missing = len(self.missing(member))
            if exact:
                assert member.reported == missing
            else:
                assert bool(member.reported) >= bool(missing), f"{missing} missing in silence"


@asynccontextmanager
async def world():
    """A place for workers and members, all of which end with the block."""
    failure = None
    async with anyio.create_task_group() as group:
        try:
            yield World(group)
        except Exception as exc:  # noqa: BLE001 - it is to leave bare
            failure = exc
        began = anyio.current_time()
        group.cancel_scope.cancel()
    # Leaving never waits for the network.
    if failure is not None:
        raise failure
    assert anyio.current_time() - began < 2
