"""Rooms that a connection joins and leaves at its client's request."""

import anyio
import pytest

from tests.rooms._members import opened, received
from wsnursery import LocalProtocolError, WebSocketDisconnected
from wsnursery.rooms import MemoryEngine, Rooms, SharedRooms, TooManyRooms

pytestmark = pytest.mark.usefixtures("over_both_paths")


async def test_join_and_leave():
    rooms = Rooms()
    async with opened() as (ws, peer):
        with rooms.memberships(ws, metadata="Ann") as subscribed:
            member = subscribed.join("a")
            assert (member.room, member.metadata) == ("a", "Ann")
            assert subscribed.join("a") is member
            other = subscribed.join("b", metadata="Bob")
            assert other.metadata == "Bob"
            assert list(subscribed) == [member, other]
            assert ("a" in subscribed, "c" in subscribed, len(subscribed)) == (True, False, 2)
            assert repr(subscribed) == "<Memberships: 2 of at most 100 rooms>"
            rooms.publish("a", "1")
            rooms.publish("b", "2")
            assert subscribed.leave("a")
            assert not subscribed.leave("a")
            rooms.publish("a", "3")
            assert await received(peer) == ["1", "2"]
            assert list(rooms) == ["b"]
        assert len(rooms) == 0
        with subscribed:
            assert len(subscribed) == 0
            subscribed.join("c")
        assert len(rooms) == 0


async def test_the_number_of_rooms_is_bounded():
    rooms = Rooms()
    async with opened() as (ws, _):
        with rooms.memberships(ws, limit=2) as subscribed:
            subscribed.join("a")
            subscribed.join("b")
            with pytest.raises(TooManyRooms, match="may be in 2 rooms at a time: leave one first"):
                subscribed.join("c")
            subscribed.join("a")
            subscribed.leave("a")
            subscribed.join("c")


async def test_a_refused_join_changes_nothing():
    rooms = Rooms()
    async with opened() as (ws, _):
        with rooms.joined("a", ws), rooms.memberships(ws) as subscribed:
            with pytest.raises(LocalProtocolError, match="already"):
                subscribed.join("a")
            assert len(subscribed) == 0


async def test_a_broken_connection_leaves_all():
    rooms = SharedRooms(MemoryEngine(), linger=0)
    async with anyio.create_task_group() as group:
        await group.start(rooms.run)
        await rooms.wait_live()
        with pytest.raises(WebSocketDisconnected):
            async with opened() as (ws, peer):
                with rooms.memberships(ws, overflow="latest") as subscribed:
                    subscribed.join("a")
                    subscribed.join("b")
                    assert rooms.statistics().rooms == 2
                    peer.vanish()
                    await anyio.sleep_forever()
        assert rooms.statistics().rooms == 0
        group.cancel_scope.cancel()


async def test_misuse():
    rooms = Rooms()
    async with opened() as (ws, _):
        subscribed = rooms.memberships(ws)
        with pytest.raises(LocalProtocolError, match="have not been entered"):
            subscribed.join("a")
        assert (len(subscribed), list(subscribed), "a" in subscribed) == (0, [], False)
        with (
            subscribed,
            pytest.raises(LocalProtocolError, match="are already entered"),
            subscribed,
        ):
            pytest.fail("it is refused")
        with pytest.raises(LocalProtocolError, match="have not been entered"):
            subscribed.leave("a")
