"""Membership, publishing, history and threads of one room."""

import asyncio
import random
import re
import sys
from typing import Any

import anyio
import pytest
import trio

from tests.rooms._members import missed, opened, received, stalled
from wsnursery import (
    LocalProtocolError,
    Options,
    Room,
    WebSocketDisconnected,
    open_websocket,
    testing,
)
from wsnursery._backend.running import running_loop
from wsnursery.hooks import BufferFull
from wsnursery.rooms import Position, RoomStatistics

pytestmark = pytest.mark.usefixtures("over_both_paths")

# membership


async def test_members_get_what_is_published_while_they_are_in():
    room = Room("r")
    async with opened() as (one, peer), opened() as (two, other_peer):
        assert room.publish("to nobody") == 0
        with room.joined(one) as first:
            assert room.publish("a") == 1
            with room.joined(two) as second:
                assert room.members == (first, second)
                assert room.size == 2
                assert repr(room) == "<Room 'r': 2 members, number 2>"
                assert room.publish(b"b") == 2
            assert room.publish("c") == 1
        assert room.publish("to nobody") == 0
        assert await received(peer) == ["a", b"b", "c"]
        assert await received(other_peer) == [b"b"]


@pytest.mark.parametrize("how", ["vanish", "close"])
async def test_a_member_leaves_when_its_connection_ends(how):
    room = Room("r")
    with pytest.raises(WebSocketDisconnected):
        async with opened() as (ws, peer):
            with room.joined(ws):
                getattr(peer, how)()
                await anyio.sleep_forever()
    assert room.members == ()
    assert room.publish("a") == 0


async def test_a_member_whose_connection_has_ended_is_passed_over():
    room = Room("r")
    async with opened() as (ws, peer):
        with room.joined(ws):
            peer.close()
            async for _ in ws:
                pytest.fail("there is no message")
            assert room.publish("a") == 0
            assert room.statistics().dropped == 0


async def test_the_queue_is_the_connections_own():
    room = Room("r")
    async with opened() as (ws, peer):
        with room.joined(ws):
            ws.send_nowait("first")
            room.publish("second")
            await ws.send("third")
            assert await received(peer) == ["first", "second", "third"]


async def test_joining_twice_is_refused():
    room = Room("r")
    async with opened() as (ws, _):
        membership = room.joined(ws)
        with membership:
            with (
                pytest.raises(LocalProtocolError, match="already in the room 'r'"),
                room.joined(ws),
            ):
                pytest.fail("it is refused")
            with pytest.raises(LocalProtocolError, match="call joined"), membership:
                pytest.fail("it is refused")
            assert room.size == 1
        with room.joined(ws):
            assert room.size == 1


async def test_joining_needs_an_open_connection():
    room = Room("r")
    server = testing.Server()
    async with open_websocket(server.scope, server.receive, server.send) as ws:
        with pytest.raises(LocalProtocolError, match="accept"), room.joined(ws):
            pytest.fail("it is refused")
        await ws.accept()
        await ws.close()
        with pytest.raises(anyio.ClosedResourceError), room.joined(ws):
            pytest.fail("it is refused")
    assert room.size == 0


async def test_wrong_arguments():
    room = Room("r")
    wrong: Any = "wait"
    async with opened() as (ws, _):
        with pytest.raises(ValueError, match="overflow must be one of disconnect, drop_oldest"):
            room.joined(ws, overflow=wrong)
        with pytest.raises(ValueError, match="replay must be 0 or more messages, got -1"):
            room.joined(ws, replay=-1)
        with pytest.raises(LocalProtocolError, match="1005"):
            room.joined(ws, code=1005)
    with pytest.raises(ValueError, match="history"):
        Room("r", history=-1)
    with pytest.raises(ValueError, match="history"):
        Room("r", history_bytes=-1)


def test_a_history_of_no_bytes_keeps_nothing():
    room = Room("r", history=5, history_bytes=0)
    room.publish("a")
    assert room.statistics().history_used == 0


# publishing


@pytest.mark.parametrize("wrong", [1, None, {"a": 1}])
async def test_a_wrong_message_changes_nothing(wrong):
    room = Room("r", history=5)
    async with opened() as (ws, peer):
        with room.joined(ws):
            with pytest.raises(TypeError):
                room.publish(wrong)
            with pytest.raises(ValueError, match="surrogate"):
                room.publish("\ud800")
            assert await received(peer) == []
    assert room.position.number == 0


async def test_publish_json_encodes_once():
    encodings = 0

    class Counted(dict[str, object]):
        def items(self):
            nonlocal encodings
            encodings += 1
            return super().items()

    room = Room("r")
    async with opened() as (one, peer), opened() as (two, other_peer):
        with room.joined(one), room.joined(two):
            assert room.publish_json(Counted(é=[1, None])) == 2
            assert await received(peer) == await received(other_peer) == ['{"é":[1,null]}']
            with pytest.raises(ValueError, match="Out of range"):
                room.publish_json(float("nan"))
    assert encodings == 1


async def test_all_members_are_given_one_and_the_same_object():
    room = Room("r")
    message = "not ascii: é" * 10
    async with opened() as (one, peer), opened() as (two, other_peer):
        with room.joined(one), room.joined(two):
            room.publish(message)
            [first], [second] = await received(peer), await received(other_peer)
            assert first is second is message


async def test_a_buffer_is_copied():
    room = Room("r", history=1)
    buffer = bytearray(b"abc")
    async with opened() as (ws, peer):
        with room.joined(ws):
            room.publish(buffer)
            buffer[:] = b"xyz"
            assert await received(peer) == [b"abc"]


async def test_every_member_that_was_in_gets_it_in_order_while_others_come_and_go():
    """A random history: each member gets exactly what was published while it was in."""
    room = Room("r")
    rng = random.Random(7)
    expected: dict[tuple[int, int], list[str]] = {}
    got = {}
    inside = set()

    async def member(number):
        await anyio.sleep(rng.random())
        async with opened() as (ws, peer):
            for stay in range(3):
                with room.joined(ws):
                    expected[number, stay] = []
                    inside.add((number, stay))
                    await anyio.sleep(rng.random())
                    inside.discard((number, stay))
                got[number, stay] = await received(peer)

    async def publisher(name):
        for count in range(100):
            message = f"{name} {count}"
            for key in inside:
                expected[key].append(message)
            assert room.publish(message) == len(inside)
            await anyio.sleep(rng.random() / 20)

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(member, number)
        for name in "ab":
            group.start_soon(publisher, name)
    assert got == expected
    assert any(len(messages) > 20 for messages in got.values())


async def test_publish_does_not_wait_for_the_slow_nor_fail_with_the_dead():
    room = Room("r")
    small = Options(send_buffer=2)
    async with stalled(small) as (slow, _, go_on), opened() as (dead, gone), opened() as (ws, peer):
        with (
            room.joined(slow, overflow="drop_oldest"),
            room.joined(dead),
            room.joined(ws),
        ):
            gone.close()
            async for _ in dead:
                pytest.fail("there is no message")
            assert [room.publish(str(number)) for number in range(5)] == [2] * 5
            assert await received(peer) == [*"01234"]
            go_on.set()


# threads


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_publishing_from_another_thread():
    room = Room("r")

    def work():
        with pytest.raises(
            RuntimeError, match=re.escape("anyio.from_thread.run_sync(room.publish")
        ):
            room.publish("directly")
        for count in range(20):
            assert anyio.from_thread.run_sync(room.publish, str(count)) == 1

    async with opened() as (ws, peer):
        with room.joined(ws):
            await anyio.to_thread.run_sync(work)
            assert await received(peer) == [str(count) for count in range(20)]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_room_moves_to_another_loop_only_when_it_is_empty():
    room = Room("r")

    async def elsewhere(expected):
        async with opened() as (ws, peer):
            with room.joined(ws):
                room.publish("there")
                assert await received(peer) == expected

    async with opened() as (ws, _):
        with (
            room.joined(ws),
            pytest.raises(RuntimeError, match="belongs to the thread and the event loop"),
        ):
            await anyio.to_thread.run_sync(anyio.run, elsewhere, [])
        await anyio.to_thread.run_sync(anyio.run, elsewhere, ["there"])


# history


async def test_replay():
    room = Room("r", history=3)
    for message in "abcd":
        room.publish(message)
    async with opened() as (one, peer), opened() as (two, other_peer), opened() as (three, nothing):
        with room.joined(one, replay=2), room.joined(two, replay=10), room.joined(three):
            room.publish("e")
            assert await received(peer) == [*"cde"]
            assert await received(other_peer) == [*"bcde"]
            assert await received(nothing) == ["e"]


async def test_resume():
    room = Room("r", history=10)
    for message in "abcd":
        room.publish(message)
    assert room.position.number == 4
    async with opened() as (ws, peer):
        with room.joined(ws, after=at(room, 2), replay=1) as member:
            room.publish("e")
            assert await received(peer) == [*"cde"]
            assert await missed(member) == 0
        with room.joined(ws, after=at(room, 5)) as member:
            assert await received(peer) == []
            assert await missed(member) == 0
        with room.joined(ws, after=at(room, 0)) as member:
            assert await received(peer) == [*"abcde"]
            assert await missed(member) == 0


def at(room: Room, number: int) -> Position:
    return Position(room.position.epoch, number)


async def test_resume_counts_what_the_history_no_longer_has():
    room = Room("r", history=2)
    for message in "abcde":
        room.publish(message)
    async with opened() as (ws, peer):
        with room.joined(ws, after=at(room, 1)) as member:
            assert await received(peer) == ["d", "e"]
            assert await member.missed() == 2


@pytest.mark.parametrize(
    ("epoch", "number"), [("another", 1), ("another", 0), (None, 4), (None, 99)]
)
async def test_a_position_that_means_nothing_here(epoch, number):
    room = Room("r", history=5)
    for message in "abc":
        room.publish(message)
    async with opened() as (ws, peer):
        with room.joined(
            ws, replay=1, after=Position(epoch or room.position.epoch, number)
        ) as member:
            assert await received(peer) == ["c"]
            assert await member.missed() == 1


def test_every_room_has_an_epoch_of_its_own():
    assert Room("r").position.epoch != Room("r").position.epoch


async def test_stamp():
    stamped = []

    def stamp(message, position):
        stamped.append(position)
        return f"{position.number} {message}"

    room = Room("r", history=5, stamp=stamp)
    async with opened() as (one, peer), opened() as (two, other_peer):
        with room.joined(one):
            room.publish("a")
            room.publish("b")
            with room.joined(two, replay=1):
                assert await received(peer) == ["1 a", "2 b"]
                assert await received(other_peer) == ["2 b"]
    assert stamped == [at(room, 1), at(room, 2)]  # once per message, however many members get it


def test_a_stamp_that_fails_changes_nothing():
    wrong: Any = lambda message, number: number  # noqa: E731
    room = Room("r", stamp=wrong)
    with pytest.raises(TypeError):
        room.publish("a")
    assert room.position.number == 0


# the rest


async def test_statistics():
    room = Room("r", history=2)
    async with stalled(Options(send_buffer=2)) as (ws, _, go_on), opened() as (other, _):
        with room.joined(other), room.joined(ws, overflow="drop_newest"):
            for message in "abc":
                room.publish(message)
            statistics = room.statistics()
            assert (statistics.members, statistics.lagging) == (2, 1)
            assert (statistics.published, statistics.queued, statistics.dropped) == (3, 5, 1)
            assert (statistics.history_used, statistics.history_used_bytes) == (2, 2)
            go_on.set()
    assert (room.statistics().members, room.statistics().dropped) == (0, 1)


def test_statistics_of_a_new_room():
    room = Room("r")
    assert {room.statistics()} == {RoomStatistics(0, 0, 0, 0, 0, 0, 0, 0, 0)}
    room.publish("to nobody")
    assert room.statistics() == RoomStatistics(0, 0, 1, 0, 0, 0, 0, 0, 0)


async def test_statistics_of_the_members_that_are_in_and_of_those_that_have_gone():
    room = Room("r")
    small = Options(send_buffer=2)
    with pytest.raises(WebSocketDisconnected):
        async with stalled(small) as (one, _, _), stalled(small) as (two, _, _):
            with (
                room.joined(one, overflow="latest"),
                room.joined(two, overflow="drop_newest"),
            ):
                async with stalled(small) as (three, _, _):
                    with room.joined(three):
                        for message in "abcd":
                            room.publish(message)
                        inside = room.statistics()
                        await anyio.sleep_forever()
    assert inside == RoomStatistics(3, 2, 4, 8, 2, 3, 1, 0, 0)
    assert room.statistics() == RoomStatistics(0, 0, 4, 8, 2, 3, 1, 0, 0)


async def test_presence():
    room = Room("r")
    async with opened() as (ws, _):
        with room.presence() as changes:
            with room.joined(ws) as member:
                assert (await anext(changes)).who is member
            assert (await anext(changes)).who is member
        with pytest.raises(StopAsyncIteration):
            await anext(changes)


# order


async def test_every_member_sees_the_order_of_the_calls_when_a_hook_publishes():
    room = Room("r", history=5)
    reached: list[int] = []

    def hook(event):
        if getattr(event, "message", None) == "first" and not reached:
            reached.append(0)
            reached[0] = room.publish("second")

    async with opened(Options(hooks=[hook])) as (a, peer), opened() as (b, other):
        with room.joined(a), room.joined(b):
            await a.send("warm")
            await received(peer)
            assert room.publish("first") == 2
            assert await received(peer) == ["first", "second"]
            assert await received(other) == ["first", "second"]
            assert reached == [2]
            assert room.statistics().queued == 4


async def test_a_hook_that_publishes_in_the_middle_of_a_delivery():
    """One member's queue is full; the other is behind it in the room."""
    room = Room("r", history=5)

    def hook(event):
        if isinstance(event, BufferFull) and room.position.number == 2:
            assert room.publish("third") == 1

    small = Options(send_buffer=1, hooks=[hook])
    async with stalled(small) as (a, _, go_on), opened() as (b, other):
        with room.joined(a, overflow="drop_newest"), room.joined(b):
            assert [room.publish("first"), room.publish("second")] == [2, 1]
            assert await received(other) == ["first", "second", "third"]
            assert room.statistics().queued == 4
            go_on.set()


def test_a_stamp_must_not_publish():
    def stamp(message, position):
        if message == "a":
            room.publish("b")
        return message

    room = Room("r", history=5, stamp=stamp)
    with pytest.raises(LocalProtocolError, match="must only return the message"):
        room.publish("a")
    assert room.position.number == 1


async def test_publishing_in_another_loop_of_the_same_thread_is_refused():  # contract: T5
    room = Room("r")

    async def elsewhere():
        with pytest.raises(RuntimeError, match="belongs to the thread and the event loop"):
            room.publish("a")

    async with opened() as (ws, peer):
        with room.joined(ws):
            room._home._loop = object()
            await elsewhere()
            assert await received(peer) == []
            room._home.settle()


async def test_a_callback_of_the_loop_may_publish(anyio_backend_name):  # contract: T5
    room = Room("r")
    reached: list[int] = []

    def publish():
        reached.append(room.publish("from a callback"))

    async with opened() as (one, peer), opened() as (two, other):
        with room.joined(one), room.joined(two):
            await anyio.sleep(60)  # no task of the connections is left
            if anyio_backend_name == "trio":
                trio.lowlevel.current_trio_token().run_sync_soon(publish)
            else:
                asyncio.get_running_loop().call_soon(publish)
            await anyio.sleep(1)
            assert await received(peer) == await received(other) == ["from a callback"]
            assert reached == [2]


# workers


def test_a_room_of_one_of_several_workers_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr("wsnursery.rooms._unshared._names", [])

    async def main():
        async with opened() as (ws, _):
            for workers in ("4", "1", "many", None):
                if workers is None:
                    monkeypatch.delenv("WSNURSERY_WORKERS")
                else:
                    monkeypatch.setenv("WSNURSERY_WORKERS", workers)
                with Room(f"local {workers}", local=True).joined(ws):
                    pass
                for name in ("lobby", "another"):
                    with Room(f"{name} {workers}").joined(ws):
                        pass

    anyio.run(main)
    [record] = caplog.records
    assert record.getMessage() == (
        "room 'lobby 4' has the members of this one of 4 workers, because it has no engine: use "
        "wsnursery.rooms.SharedRooms, or Room(name, local=True) if that is what you want"
    )


def test_where_no_loop_runs(monkeypatch):
    assert running_loop() is None
    monkeypatch.delitem(sys.modules, "trio", raising=False)
    assert running_loop() is None
