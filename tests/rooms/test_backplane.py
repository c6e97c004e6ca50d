"""Rooms of the same name that exchange their messages: at most once, and gaps are noticed."""

from contextlib import asynccontextmanager

import anyio
import pytest

from tests.rooms._members import opened, received
from wsnursery import Room
from wsnursery.rooms import Envelope, Gap, InProcessBackplane, _backplane


@asynccontextmanager
async def exchanging(backplane, *rooms):
    async with anyio.create_task_group() as group:
        for room in rooms:
            await group.start(room.exchange, backplane)
        yield
        group.cancel_scope.cancel()


class Lossy:
    """A backplane that loses what the test says, and repeats the rest in any order it says."""

    def __init__(self):
        self.published = []
        self._send, self._events = anyio.create_memory_object_stream[Envelope | Gap](100)

    async def publish(self, channel, envelope):
        await anyio.lowlevel.checkpoint()
        self.published.append((channel, envelope))

    @asynccontextmanager
    async def subscribe(self, channel):
        with self._send, self._events:
            yield self._events

    async def deliver(self, *events):
        for event in events:
            self._send.send_nowait(event)
        await anyio.wait_all_tasks_blocked()

    def end(self):
        self._send.close()


def envelopes(*numbers, origin="elsewhere"):
    return [Envelope(origin, number, f"{origin} {number}") for number in numbers]


async def test_messages_go_both_ways_and_only_once():
    here, there, other = Room("r"), Room("r"), Room("another")
    backplane = InProcessBackplane()
    async with opened() as (one, peer), opened() as (two, other_peer):
        with here.joined(one), there.joined(two), other.joined(two):
            async with exchanging(backplane, here, there, other):
                assert here.publish("a") == 1
                assert here.publish(b"b", key="k") == 1
                assert await received(peer) == ["a", b"b"]
                assert await received(other_peer) == ["a", b"b"]
                there.publish("c")
                assert await received(peer) == ["c"]
                assert await received(other_peer) == ["c"]
            there.publish("alone again")
            assert await received(peer) == []


async def test_keys_travel():
    here, there = Room("r"), Room("r")
    async with opened() as (ws, peer):
        with there.joined(ws, overflow="latest"):
            async with exchanging(InProcessBackplane(), here, there):
                here.publish("a1", key="a")
                here.publish("b1", key="b")
                assert await received(peer) == ["a1", "b1"]


async def test_lost_messages_are_noticed_and_skip_numbers():
    room, backplane = Room("r", history=10), Lossy()
    async with opened() as (ws, peer):
        with room.joined(ws) as member:
            async with exchanging(backplane, room):
                await backplane.deliver(*envelopes(7, 8))  # what came before 7 was not for us
                assert room.sequence == 2
                await backplane.deliver(*envelopes(11))
                assert await member.missed() == 2
                assert room.sequence == 5
                assert await received(peer) == ["elsewhere 7", "elsewhere 8", "elsewhere 11"]
    async with opened() as (ws, _):
        with room.joined(ws, after=2, epoch=room.epoch) as member:
            assert await member.missed() == 2


async def test_repeated_and_late_messages_are_dropped():
    room, backplane = Room("r"), Lossy()
    async with opened() as (ws, peer):
        with room.joined(ws) as member:
            async with exchanging(backplane, room):
                await backplane.deliver(*envelopes(1, 3, 2, 3, 4))
                assert await received(peer) == ["elsewhere 1", "elsewhere 3", "elsewhere 4"]
                assert await member.missed() == 1


async def test_origins_are_counted_apart():
    room, backplane = Room("r"), Lossy()
    async with opened() as (ws, peer):
        with room.joined(ws):
            async with exchanging(backplane, room):
                await backplane.deliver(*envelopes(1), *envelopes(5, origin="b"), *envelopes(2))
                assert await received(peer) == ["elsewhere 1", "b 5", "elsewhere 2"]
                assert room.sequence == 3


async def test_a_gap_of_unknown_size_counts_once():
    room, backplane = Room("r"), Lossy()
    async with opened() as (ws, _):
        with room.joined(ws) as member:
            async with exchanging(backplane, room):
                await backplane.deliver(*envelopes(1), Gap(), *envelopes(9))
                assert await member.missed() == 1
                assert room.sequence == 3


async def test_origins_are_forgotten_in_the_end(monkeypatch):
    monkeypatch.setattr(_backplane, "MAX_ORIGINS", 2)
    room, backplane = Room("r"), Lossy()
    async with exchanging(backplane, room):
        await backplane.deliver(*envelopes(1), *envelopes(1, origin="b"), *envelopes(2))
        await backplane.deliver(*envelopes(1, origin="c"))  # "b" has been silent the longest
        await backplane.deliver(*envelopes(4, origin="b"), *envelopes(2, origin="c"))
        assert room.sequence == 6
        await backplane.deliver(*envelopes(5, origin="c"))
        assert room.sequence == 9


async def test_as_many_origins_are_remembered_as_may_be(monkeypatch):
    monkeypatch.setattr(_backplane, "MAX_ORIGINS", 2)
    room, backplane = Room("r"), Lossy()
    async with exchanging(backplane, room):
        await backplane.deliver(*envelopes(1), *envelopes(1, origin="b"), *envelopes(3))
        assert room.sequence == 4


async def test_what_the_backplane_is_given():
    room, backplane = Room("r", stamp=lambda message, number: f"{number}: {message!r}"), Lossy()
    async with exchanging(backplane, room):
        room.publish("a", key="k")
        room.publish("b")
        await anyio.wait_all_tasks_blocked()
    [(channel, first), (_, second)] = backplane.published
    assert channel == "r"
    assert (first.message, first.key, first.number) == ("a", "k", 1)
    assert (second.message, second.key, second.number) == ("b", None, 2)
    assert first.origin == second.origin


async def test_a_slow_backplane_costs_messages_not_time(monkeypatch):
    monkeypatch.setattr(_backplane, "OUTGOING_MESSAGES", 2)
    here, there = Room("r"), Room("r")
    backplane = InProcessBackplane()
    async with opened() as (ws, peer):
        with there.joined(ws) as member:
            async with exchanging(backplane, here, there):
                for message in "abcd":
                    here.publish(message)
                assert await received(peer) == ["a", "b"]
                here.publish("e")
                assert await received(peer) == ["e"]
                assert await member.missed() == 2


@pytest.mark.parametrize("sizes", [(9, 9, 1), (9, 1, 1)])
async def test_what_waits_for_the_backplane_is_bounded_in_bytes(monkeypatch, sizes):
    monkeypatch.setattr(_backplane, "OUTGOING_BYTES", 10)
    room, backplane = Room("r"), Lossy()
    async with exchanging(backplane, room):
        for size in sizes:
            room.publish("a" * size)
        await anyio.wait_all_tasks_blocked()
        room.publish("d")
        await anyio.wait_all_tasks_blocked()
    assert [envelope.number for _, envelope in backplane.published] == [1, 2, 4]


async def test_a_slow_subscriber_gets_a_gap():
    backplane = InProcessBackplane(buffer=2)
    async with backplane.subscribe("r") as events, backplane.subscribe("r") as others:
        for envelope in envelopes(1, 2, 3, 4):
            await backplane.publish("r", envelope)
            await anext(others)
        assert [await anext(events) for _ in range(3)] == [*envelopes(1, 2), Gap()]
        await backplane.publish("r", *envelopes(5))
        assert await anext(events) == envelopes(5)[0]
    await backplane.publish("r", *envelopes(6))  # to nobody


async def test_both_sides_are_checkpoints():
    backplane = InProcessBackplane()
    async with backplane.subscribe("r") as events:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await backplane.publish("r", *envelopes(1))
        assert scope.cancelled_caught
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(events)
        assert scope.cancelled_caught
        assert await anext(events) == envelopes(1)[0]  # neither has lost anything


def test_events_can_be_kept_in_a_set():
    assert len({*envelopes(1, 2), *envelopes(1), Gap(), Gap()}) == 3


async def test_one_backplane_at_a_time():
    room = Room("r")
    async with exchanging(InProcessBackplane(), room):
        with pytest.raises(RuntimeError, match="has a backplane already"):
            await room.exchange(InProcessBackplane())


async def test_a_backplane_that_ends_its_subscription_is_an_error():
    room, backplane = Room("r"), Lossy()
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            await group.start(room.exchange, backplane)
            backplane.end()
    assert caught.group_contains(anyio.EndOfStream, match="ended its subscription to 'r'")
    room.publish("goes on without it")
