"""What happens to a member whose queue is full, and what the member can find out."""

import gc
import random
import weakref

import anyio
import pytest

from tests.rooms._members import opened, received, stalled
from wsnursery import Options, Room, WebSocketDisconnected, testing
from wsnursery._engine.shared_sender import SharedSender
from wsnursery.rooms import Member, Position
from wsnursery.rooms._history import Publication

pytestmark = pytest.mark.usefixtures("over_both_paths")

SMALL = Options(send_buffer=4, send_buffer_bytes=100)


def publish(room: Room, *messages: str) -> list[int]:
    return [room.publish(message) for message in messages]


# disconnect


async def test_disconnect_is_the_default():
    room = Room("r")
    log: list[str] = []
    transcripts: list[testing.Transcript] = []

    async def bystander():
        try:
            await anyio.sleep_forever()
        finally:
            log.append("cancelled")

    with pytest.raises(WebSocketDisconnected) as caught:
        async with stalled(SMALL) as (ws, peer, go_on):
            transcripts.append(peer.transcript)
            ws.start_soon(bystander)
            with room.joined(ws) as member:
                assert publish(room, *"abcde") == [1, 1, 1, 1, 0]
                assert member.disconnected
                assert publish(room, "f") == [0]  # it is being disconnected, and no longer counts
                go_on.set()
                await anyio.sleep_forever()
    assert log == ["cancelled"]
    assert caught.value.code == 1013
    assert caught.value.reason == "too slow"
    assert caught.value.undelivered == 5
    assert isinstance(caught.value.__cause__, anyio.WouldBlock)
    assert transcripts[0].app_close == (1013, "too slow")
    assert transcripts[0].violations == []
    assert room.members == ()
    statistics = room.statistics()
    assert (statistics.disconnected, statistics.dropped, statistics.queued) == (1, 0, 4)


async def test_disconnect_with_another_code_notifies_a_reader():
    room = Room("r")
    async with stalled(SMALL) as (ws, _, go_on):
        with room.joined(ws, code=4000):
            ws.start_soon(publish_later, room, go_on)
            messages = [message async for message in ws]
    assert messages == []
    assert (ws.close_code, ws.close_reason) == (4000, "too slow")


async def publish_later(room: Room, go_on: anyio.Event) -> None:
    publish(room, *"abcde")
    go_on.set()


async def test_disconnect_of_the_publisher_itself():
    room = Room("r")
    with pytest.raises(WebSocketDisconnected, match="1013"):
        async with stalled(SMALL) as (ws, _, go_on), opened() as (other, peer):
            with room.joined(ws), room.joined(other):
                publish(room, *"abcde")
                go_on.set()
                # The others still get everything.
                assert await received(peer) == [*"abcde"]
                pytest.fail("the publisher is cancelled at its next checkpoint")


# drop_newest


async def test_drop_newest():
    room = Room("r")
    async with stalled(SMALL) as (ws, peer, go_on):
        with room.joined(ws, overflow="drop_newest") as member:
            assert publish(room, *"abcdef") == [1, 1, 1, 1, 0, 0]
            assert member.dropped == 2
            go_on.set()
            assert await received(peer) == ["in flight", *"abcd"]
            assert publish(room, "g") == [1]
            assert await received(peer) == ["g"]
    assert room.statistics().dropped == 2


# drop_oldest


async def test_drop_oldest():
    room = Room("r")
    async with stalled(SMALL) as (ws, peer, go_on):
        with room.joined(ws, overflow="drop_oldest") as member:
            assert publish(room, *"abcdef") == [1] * 6
            assert member.dropped == 2
            go_on.set()
            assert await received(peer) == ["in flight", *"cdef"]


async def test_drop_oldest_counts_bytes():
    room = Room("r")
    async with stalled(SMALL) as (ws, peer, go_on):
        with room.joined(ws, overflow="drop_oldest") as member:
            publish(room, "a" * 40, "b" * 40, "c" * 90)
            assert member.dropped == 2
            assert publish(room, "d" * 101) == [0]  # would not fit into an empty queue either
            assert member.dropped == 3
            go_on.set()
            assert await received(peer) == ["in flight", "c" * 90]


async def test_drop_oldest_for_a_message_that_takes_the_whole_queue():
    room = Room("r")
    async with stalled(SMALL) as (ws, peer, go_on):
        with room.joined(ws, overflow="drop_oldest") as member:
            assert publish(room, "a", "b" * 100) == [1, 1]
            assert member.dropped == 1
            go_on.set()
            assert await received(peer) == ["in flight", "b" * 100]


async def test_drop_oldest_spares_what_others_have_sent():
    room, other = Room("r"), Room("other")
    async with stalled(SMALL) as (ws, peer, go_on):
        with (
            room.joined(ws, overflow="drop_oldest") as member,
            other.joined(ws, overflow="drop_oldest"),
        ):
            ws.send_nowait("own")
            other.publish("other")
            publish(room, "a", "b", "c")
            other.publish("other 2")
            assert member.dropped == 1
            go_on.set()
            assert await received(peer) == ["in flight", "own", "b", "c", "other 2"]


async def test_drop_oldest_when_the_queue_is_full_of_own_messages():
    room = Room("r")
    async with stalled(SMALL) as (ws, peer, go_on):
        with room.joined(ws, overflow="drop_oldest") as member:
            for number in range(4):
                ws.send_nowait(f"own {number}")
            assert publish(room, "a") == [0]
            assert member.dropped == 1
            go_on.set()
            assert await received(peer) == ["in flight", *(f"own {number}" for number in range(4))]


async def test_a_stalled_member_costs_no_more_with_time():
    room = Room("r")
    async with stalled(SMALL) as (ws, peer, go_on):
        with room.joined(ws, overflow="drop_oldest") as member:
            for number in range(10_000):
                room.publish(str(number))
            assert ws.statistics().send_buffer_used == 4
            assert member.dropped == 9_996
            go_on.set()
            assert await received(peer) == ["in flight", "9996", "9997", "9998", "9999"]


# latest


async def test_latest_keeps_the_newest_of_each_key_in_order():
    room = Room("r")
    async with stalled(SMALL) as (ws, peer, go_on):
        with room.joined(ws, overflow="latest") as member:
            for message in ["a1", "b1", "a2", "a3", "c1", "b2"]:
                assert room.publish(message, key=message[0]) == 1
            assert (member.conflated, member.dropped) == (3, 0)
            go_on.set()
            assert await received(peer) == ["in flight", "a3", "c1", "b2"]
    assert room.statistics().conflated == 3


async def test_latest_without_keys_keeps_one_message():
    room = Room("r")
    async with stalled(SMALL) as (ws, peer, go_on):
        with room.joined(ws, overflow="latest") as member:
            publish(room, *"abc")
            assert member.conflated == 2
            go_on.set()
            assert await received(peer) == ["in flight", "c"]


async def test_latest_with_too_many_keys_drops_the_oldest():
    room = Room("r")
    async with stalled(SMALL) as (ws, peer, go_on):
        with room.joined(ws, overflow="latest") as member:
            for key in "abcde":
                room.publish(key, key=key)
            assert (member.conflated, member.dropped) == (0, 1)
            go_on.set()
            assert await received(peer) == ["in flight", *"bcde"]


async def test_latest_gives_a_fast_member_everything():
    room = Room("r")
    async with opened() as (ws, peer):
        with room.joined(ws, overflow="latest") as member:
            for message in "abc":
                room.publish(message)
                await anyio.wait_all_tasks_blocked()
            assert await received(peer) == [*"abc"]
            assert member.conflated == 0


# any policy


@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "latest"])
@pytest.mark.parametrize("seed", range(20))
async def test_a_member_is_sent_a_part_of_what_was_published_in_order(overflow, seed):
    rng = random.Random(seed)
    room = Room("r")
    published, got = [], []
    async with opened(SMALL, send_queue=1) as (ws, peer):
        with room.joined(ws, overflow=overflow) as member:
            for number in range(200):
                if rng.random() < 0.7:
                    key = rng.choice("abc")
                    room.publish(f"{number} {key * rng.randrange(30)}", key=key)
                    published.append(number)
                else:
                    got += await received(peer)
            while news := await received(peer):
                got += news
            numbers = [int(message.split()[0]) for message in got]
            rest = iter(published)
            assert all(number in rest for number in numbers)  # a subsequence
            assert len(numbers) == len(published) - member.dropped - member.conflated
            assert member.dropped + member.conflated > 0
            if overflow != "drop_newest":
                assert numbers[-1] == published[-1]
            high_water = ws.statistics().send_buffer_high_water
            assert high_water <= SMALL.send_buffer


# what a member can find out


async def test_missed():
    room = Room("r")
    async with stalled(SMALL) as (ws, _, go_on):
        with room.joined(ws, overflow="drop_newest") as member:
            publish(room, *"abcdef")
            assert await member.missed() == 2
            with anyio.move_on_after(1) as nothing_new:
                await member.missed()
            assert nothing_new.cancelled_caught
            publish(room, "g")
            assert await member.missed() == 1
            go_on.set()


async def test_missed_wakes_the_waiting_task():
    room = Room("r")
    counts = []

    async def report_missed(member):
        while True:
            counts.append(await member.missed())

    async with stalled(SMALL) as (ws, _, go_on):
        with room.joined(ws, overflow="drop_newest") as member:
            ws.start_soon(report_missed, member)
            await anyio.wait_all_tasks_blocked()
            publish(room, *"abcdef")
            await anyio.wait_all_tasks_blocked()
            assert counts == [2]
            publish(room, "g")
            await anyio.wait_all_tasks_blocked()
            assert counts == [2, 1]
            go_on.set()
            ws.cancel_scope.cancel()


async def test_lagging():
    room = Room("r")
    seen: list[bool] = []
    async with stalled(SMALL) as (ws, _, go_on):
        with room.joined(ws) as member:
            publish(room, "a")
            seen.append(member.lagging)
            publish(room, "b")
            seen.append(member.lagging)
            assert room.statistics().lagging == 1
            go_on.set()
            await anyio.wait_all_tasks_blocked()
            seen.append(member.lagging)
    assert seen == [False, True, False]


async def test_lagging_in_bytes():
    room = Room("r")
    seen: list[bool] = []
    async with stalled(Options(send_buffer=10, send_buffer_bytes=100)) as (ws, _, go_on):
        with room.joined(ws) as member:
            publish(room, "a")
            publish(room, "b" * 48)
            seen.append(member.lagging)
            publish(room, "c")
            seen.append(member.lagging)
            go_on.set()
            await ws.close()
            seen.append(member.lagging)
    assert seen == [False, True, False]


@pytest.mark.parametrize(("size", "lagging"), [(49, False), (50, True)])
async def test_lagging_is_half_the_queue(size, lagging):
    room = Room("r")
    async with stalled(SMALL) as (ws, _, go_on):
        with room.joined(ws) as member:
            room.publish("c" * size)
            assert member.lagging is lagging
            go_on.set()


async def test_a_cancelled_missed_loses_nothing():
    room = Room("r")
    async with stalled(SMALL) as (ws, _, go_on):
        with room.joined(ws, overflow="drop_newest") as member:
            publish(room, *"abcdef")
            with anyio.CancelScope() as scope:
                scope.cancel()
                await member.missed()
            assert scope.cancelled_caught
            assert await member.missed() == 2
            go_on.set()


async def test_repr_and_metadata():
    room = Room("r")
    async with opened() as (ws, _):
        with room.joined(ws, metadata="Ann") as member:
            assert member.metadata == "Ann"
            assert repr(member) == "<Member 'Ann': 0 dropped, 0 conflated>"
            assert not member.disconnected


# replay


async def test_a_replay_leaves_half_the_queue_free():
    room = Room("r", history=10)
    publish(room, *"abcdef")
    async with stalled(SMALL) as (ws, peer, go_on):
        with room.joined(ws, replay=10) as member:
            publish(room, "g", "h")  # no overflow
            assert await member.missed() == 4
            go_on.set()
            assert await received(peer) == ["in flight", *"efgh"]


async def test_a_replay_into_a_full_queue():
    room = Room("r", history=10)
    publish(room, "a")
    async with stalled(SMALL) as (ws, _, go_on):
        for number in range(4):
            ws.send_nowait(f"own {number}")
        with room.joined(ws, replay=10) as member:
            assert await member.missed() == 1
        go_on.set()


@pytest.mark.parametrize(("taken", "replayed"), [(40, 1), (41, 0), (100, 0)])
async def test_a_replay_leaves_half_the_bytes_free(taken, replayed):
    room = Room("r", history=10)
    publish(room, "a" * 30, "b" * 30)
    async with stalled(SMALL) as (ws, _, go_on):
        ws.send_nowait("x" * taken)
        with room.joined(ws, replay=10) as member:
            assert await member.missed() == 2 - replayed
        go_on.set()


async def test_a_connection_that_may_not_send_may_not_join():
    room = Room("r")
    async with opened() as (ws, _):
        await ws.close()
        with pytest.raises(anyio.ClosedResourceError), room.joined(ws):
            pytest.fail("it is refused")
    assert room.members == ()


async def test_a_replay_into_a_queue_with_more_than_its_bounds():
    """Calls that wait in `send` queue their messages in addition to these."""
    room = Room("r", history=10)
    publish(room, "a")
    async with stalled(SMALL) as (ws, peer, go_on):
        for _ in range(5):
            ws.start_soon(ws.send, "x" * 30)
        await anyio.wait_all_tasks_blocked()
        assert ws.statistics().send_buffer_used == 5
        with room.joined(ws, replay=10) as member:
            assert await member.missed() == 1
        go_on.set()
        assert len(await received(peer)) == 6


async def test_a_replay_of_states_is_conflated():
    room = Room("r", history=10)
    for message in ["a1", "b1", "a2"]:
        room.publish(message, key=message[0])
    async with opened() as (ws, peer):
        await ws.send("first")  # the sender waits for the next: it could begin to send at once
        with room.joined(ws, replay=10, overflow="latest"):
            assert await received(peer) == ["first", "b1", "a2"]


# references


async def test_a_member_does_not_keep_its_connection_alive():
    room = Room("r")
    members: list[Member] = []
    with room.presence() as changes:
        async with opened() as (ws, _):
            gone = weakref.ref(ws)
            with room.joined(ws):
                members += room.members
                change = await anext(changes)
        del ws
        gc.collect()
        assert gone() is None
        assert change.who is members[0]
        # A member that never left its room has a connection that no longer exists.
        publication = Publication(object(), Position("e", 1), "a", 1, None)
        assert not members[0].give(publication, SharedSender())
        assert members[0].replay([publication]) == 0
        assert not members[0].lagging
