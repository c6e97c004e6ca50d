"""Rooms by name."""

from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.rooms._members import opened, received
from wsnursery import LocalProtocolError, Room, WebSocketDisconnected
from wsnursery.rooms import InProcessBackplane, Rooms


async def test_a_room_lives_while_somebody_is_in_it():
    rooms = Rooms()
    async with opened() as (one, _), opened() as (two, _):
        assert rooms.get("r") is None
        with rooms.joined("r", one):
            room = rooms.get("r")
            assert room is not None
            assert room.name == "r"
            with rooms.joined("r", two), rooms.joined("s", two):
                assert rooms.get("r") is room
                assert [room.name for room in rooms] == ["r", "s"]
                assert repr(rooms) == "<Rooms: 2>"
            assert len(rooms) == 1
        assert len(rooms) == 0
        with rooms.joined("r", one):
            assert rooms.get("r") is not room


async def test_a_broken_connection_leaves():
    rooms = Rooms()
    with pytest.raises(WebSocketDisconnected):
        async with opened() as (ws, peer):
            with rooms.joined("r", ws):
                peer.vanish()
                await anyio.sleep_forever()
    assert len(rooms) == 0


async def test_rooms_are_made_as_wanted():
    rooms = Rooms(lambda name: Room(name, history=1))
    async with opened() as (one, _), opened() as (two, peer):
        with rooms.joined("r", one):
            rooms.publish("r", "before")
            with rooms.joined("r", two, replay=1, metadata="Ann", overflow="drop_newest") as member:
                assert member.metadata == "Ann"
                assert await received(peer) == ["before"]


async def test_publish():
    rooms = Rooms()
    wrong: Any = None
    async with opened() as (ws, peer):
        with rooms.joined("r", ws, overflow="latest"):
            assert rooms.publish("r", "a", key="k") == 1
            assert rooms.publish_json("r", {"b": 1}) == 1
            assert rooms.publish("nobody", "c") == 0
            assert await received(peer) == ["a", '{"b":1}']
        with pytest.raises(TypeError):
            rooms.publish("nobody", wrong)


async def test_a_refused_join_leaves_no_room():
    rooms = Rooms()
    wrong: Any = "queue"
    async with opened() as (ws, _):
        with (
            pytest.raises(ValueError, match="overflow is one of"),
            rooms.joined("r", ws, overflow=wrong),
        ):
            pytest.fail("it is refused")
        assert len(rooms) == 0
        with rooms.joined("r", ws):
            with pytest.raises(LocalProtocolError, match="already"), rooms.joined("r", ws):
                pytest.fail("it is refused")
            assert len(rooms) == 1


async def test_backplane():
    here, there = Rooms(), Rooms()
    backplane = InProcessBackplane()
    async with opened() as (one, peer), opened() as (two, other_peer):
        async with anyio.create_task_group() as group:
            with here.joined("r", one):
                await group.start(here.exchange, backplane)
                await group.start(there.exchange, backplane)
                with there.joined("r", two):
                    await anyio.wait_all_tasks_blocked()
                    here.publish("r", "a")
                    assert await received(other_peer) == ["a"]
                await anyio.wait_all_tasks_blocked()
                assert len(there) == 0
                here.publish("r", "to nobody elsewhere")
                with pytest.raises(LocalProtocolError, match="have a backplane already"):
                    await here.exchange(backplane)
            group.cancel_scope.cancel()
        with here.joined("r", one):
            here.publish("r", "b")
            assert await received(peer) == ["a", "to nobody elsewhere", "b"]


async def test_a_room_that_is_gone_has_left_the_backplane():
    rooms, entered, left = Rooms(), anyio.Event(), anyio.Event()

    class Watched:
        async def publish(self, channel, envelope):
            raise AssertionError("nothing is published")

        @asynccontextmanager
        async def subscribe(self, channel):
            entered.set()
            try:
                async with InProcessBackplane().subscribe(channel) as events:
                    yield events
            finally:
                left.set()

    async with opened() as (ws, _), anyio.create_task_group() as group:
        await group.start(rooms.exchange, Watched())
        with rooms.joined("r", ws):
            await entered.wait()
            assert not left.is_set()
        await left.wait()
        group.cancel_scope.cancel()
