"""Rooms by name."""

from typing import Any

import anyio
import pytest

from tests.rooms._members import opened, received
from wsnursery import LocalProtocolError, Room, WebSocketDisconnected
from wsnursery.rooms import Rooms

pytestmark = pytest.mark.usefixtures("over_both_paths")


async def test_a_room_exists_while_it_has_members():
    rooms = Rooms()
    async with opened() as (one, _), opened() as (two, _):
        assert rooms.get("r") is None
        with rooms.joined("r", one):
            room = rooms.get("r")
            assert room is not None
            assert room.name == "r"
            with rooms.joined("r", two), rooms.joined("s", two):
                assert rooms.get("r") is room
                assert list(rooms) == ["r", "s"]
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
            pytest.raises(ValueError, match="overflow must be one of"),
            rooms.joined("r", ws, overflow=wrong),
        ):
            pytest.fail("it is refused")
        assert len(rooms) == 0
        with rooms.joined("r", ws):
            with pytest.raises(LocalProtocolError, match="already"), rooms.joined("r", ws):
                pytest.fail("it is refused")
            assert len(rooms) == 1


async def test_a_look_makes_no_room():
    rooms = Rooms()
    async with opened() as (ws, _):
        assert "r" not in rooms
        with pytest.raises(KeyError):
            rooms["r"]
        assert not rooms
        with rooms.joined("r", ws):
            assert "r" in rooms
            assert rooms["r"] is rooms.get("r")
            for name in rooms:  # a snapshot, because rooms may be made and dropped meanwhile
                with rooms.joined("s", ws):
                    assert name == "r"
    assert rooms != Rooms()
    assert len({rooms, Rooms()}) == 2
