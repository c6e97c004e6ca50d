"""Presence: the people who join and leave."""

from contextlib import ExitStack

import anyio
import pytest

from tests.rooms._members import opened
from wsnursery import Room
from wsnursery.rooms import Joined, Left

pytestmark = pytest.mark.usefixtures("over_both_paths")


async def test_joined_and_left():
    room = Room("r")
    async with opened() as (one, _), opened() as (two, _):
        with room.joined(one, metadata="one"), room.presence() as changes:
            with room.joined(two, metadata="two") as member:
                assert room.members[1] is member
                assert await anext(changes) == Joined(member)
            assert await anext(changes) == Left(member)
            assert [member.metadata for member in room.members] == ["one"]
    assert len({Joined(member), Joined(member), Left(member), Left(member)}) == 2  # hashable


async def test_a_broken_connection_is_seen_to_leave():
    room = Room("r")
    seen: list[tuple[type, object]] = []

    async def watch():
        nonlocal seen
        with room.presence() as changes:
            async for change in changes:
                seen += [(type(change), change.who.metadata)]

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(ConnectionError):
            async with opened() as (ws, peer):
                with room.joined(ws, metadata="Ann"):
                    await anyio.wait_all_tasks_blocked()
                    peer.vanish()
                    await anyio.sleep_forever()
        await anyio.wait_all_tasks_blocked()
        assert seen == [(Joined, "Ann"), (Left, "Ann")]
        group.cancel_scope.cancel()


async def test_a_person_who_came_and_went_unseen_is_not_shown():
    room = Room("r")
    async with opened() as (one, _), opened() as (two, _):
        with room.joined(one) as stays, room.presence() as changes:
            for _ in range(100):
                with room.joined(two):
                    pass
            with room.joined(two) as last:
                assert await anext(changes) == Joined(last)
                with anyio.move_on_after(1) as nothing_more:
                    await anext(changes)
                assert nothing_more.cancelled_caught
        assert stays is not last


async def test_a_person_who_leaves_unseen_is_shown_as_left():
    room = Room("r")
    async with opened() as (ws, _):
        with room.joined(ws) as member:
            watching = room.presence()
            changes = watching.__enter__()
        assert await anext(changes) == Left(member)
        watching.__exit__(None, None, None)


async def test_two_readers_share_the_events():
    room = Room("r")
    seen: list[object] = []

    async def take(changes):
        seen.append((await anext(changes)).who)

    async with opened() as (one, _), opened() as (two, _):
        with room.presence() as changes:
            async with anyio.create_task_group() as group:
                group.start_soon(take, changes)
                group.start_soon(take, changes)
                await anyio.wait_all_tasks_blocked()
                with room.joined(one), room.joined(two):
                    await anyio.wait_all_tasks_blocked()
                    assert set(seen) == set(room.members)


async def test_the_iteration_ends_with_the_block():
    room = Room("r")
    ended = anyio.Event()

    async def watch(changes):
        async for _ in changes:
            pytest.fail("nobody came")
        ended.set()

    async with anyio.create_task_group() as group:
        with room.presence() as changes:
            group.start_soon(watch, changes)
            await anyio.wait_all_tasks_blocked()
        await ended.wait()


async def test_messages_that_no_task_took_in_the_block_are_gone():
    room = Room("r")
    async with opened() as (ws, _):
        with ExitStack() as stack:
            with room.presence() as changes:
                stack.enter_context(room.joined(ws))
            with pytest.raises(StopAsyncIteration):
                await anext(changes)


async def test_is_a_checkpoint():
    room = Room("r")
    async with opened() as (ws, _):
        with room.presence() as changes, room.joined(ws) as member:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anext(changes)
            assert await anext(changes) == Joined(member)  # the cancelled call has lost nothing
