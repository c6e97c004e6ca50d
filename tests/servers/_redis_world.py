"""Workers, members and publishers over a real Redis, and the account of what came of it."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import asynccontextmanager
from itertools import groupby
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


def placed(message):
    """Where a stamped message has its place."""
    position = Position.parse(message.split(" ", 1)[0])
    assert position is not None
    return position


def repeated(items):
    """What is there more than once."""
    return {item for item, times in Counter(items).items() if times > 1}


def all_agree(orders):
    """Whether what is in all of these lists comes in the same order in all of them."""
    common = set.intersection(*map(set, orders))
    first, *others = [[item for item in order if item in common] for order in orders]
    return all(other == first for other in others)


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
        return [placed(message) for message in self.got]

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

    async def all_answered(self, rooms):
        """Wait until Redis owes this worker nothing: no answer, and no push of another worker."""
        people = len(self.members)
        await self.until(lambda: all(len(one.present(ROOM)) == people for one in self.workers))
        await rooms.publish_confirmed("a room without members", "")

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
                assert position.number > numbers.get(position.epoch, 0), "the numbers do not grow"
                numbers[position.epoch] = position.number
        self._check_epochs()
        self._check_texts()

    def _check_epochs(self):
        """They come in one order, without a return, and a position means one message."""
        meaning: dict[Position, str] = {}
        orders = []
        for member in self.members:
            for position, text in zip(member.positions, member.texts, strict=True):
                assert meaning.setdefault(position, text) == text, "a position means two messages"
            orders.append([epoch for epoch, _ in groupby(one.epoch for one in member.positions)])
        assert all(len(set(order)) == len(order) for order in orders), "an epoch came back"
        assert all_agree(orders), "the orders of the epochs differ"

    def _check_texts(self):
        """Their order is that of the numbers, also where the same number has two epochs."""
        orders = [list(dict.fromkeys(member.texts)) for member in self.members]
        for order in orders:
            for name in "ABCD":
                own = [int(text[1:]) for text in order if text[0] == name]
                assert own == sorted(own), "the order of a publisher is not kept"
        again = self.numbered_again()
        assert all_agree([[text for text in order if text not in again] for order in orders]), (
            "the orders differ"
        )

    def numbered_again(self):
        """What Redis has numbered twice, because it has lost the first number with its data.

        A message whose answer is lost with the server is published again. Members of one worker may
        have seen it with its first number, before the server was gone. For the others, its place is
        that of the second number, behind what other publishers were quicker to send.
        """
        numbers: dict[str, set[int]] = {}
        for member in self.members:
            for position, text in zip(member.positions, member.texts, strict=True):
                numbers.setdefault(text, set()).add(position.number)
        twice = {text for text, those in numbers.items() if len(those) > 1}
        return twice.union(*(repeated(member.texts) for member in self.members))

    async def kept(self, url):
        """What Redis has in the end, as a new worker gets it."""
        rooms = await self.worker(url, history=10**6)
        newcomer = await self.member(rooms, replay=10**6)
        # What is replayed is queued when the member joins, and sent after that.
        await self.until(lambda: newcomer.positions[-1:] == [newcomer.member.position])
        self.members.remove(newcomer)
        return set(newcomer.texts)

    def check_only_lost_with_the_server(self, kept):
        """As `check_nothing_silent`, where the server has lost its newest messages.

        Who has seen more than the server has is notified. For the others, that was never there.
        """
        self.check_order()
        for member in self.members:
            owed = bool(kept - set(member.texts) or set(member.texts) - kept)
            assert bool(member.reported) >= owed, "a silent loss"

    def missing(self, member):
        return set(self.sent) - set(member.texts)

    def check_nothing_missing(self):
        """No loss, no repetition, and no false alarm."""
        self.check_order()
        assert not self.numbered_again(), "a message came twice"
        for member in self.members:
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
