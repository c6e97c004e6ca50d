"""The public module, and the typical use of rooms."""

import anyio
import pytest

import wsnursery
from tests.rooms._members import opened
from wsnursery import Options, WebSocketDisconnected, rooms, testing

pytestmark = pytest.mark.usefixtures("over_both_paths")

MESSAGES = 20


def test_names():
    assert wsnursery.Room is rooms.Room
    for name in rooms.__all__:
        assert hasattr(rooms, name)
    assert rooms.SharedRooms.__module__ == "wsnursery.rooms"
    assert rooms.Room.__module__ == "wsnursery"


@pytest.mark.parametrize("members", [50, pytest.param(1000, marks=pytest.mark.slow)])
async def test_a_stalled_a_dead_and_a_slow_member_among_many(members):
    """The others get everything, in order, and no message waits for the three."""
    room = rooms.Room("r")
    everything = [str(number) for number in range(MESSAGES)]
    got: dict[object, list[object]] = {}
    ends = {}
    all_joined = anyio.Event()
    all_published = anyio.Event()

    async def member(name, send_queue=MESSAGES):
        try:
            async with opened(Options(send_buffer=8), send_queue=send_queue) as (ws, peer):
                got[name] = []
                async with anyio.create_task_group() as group:
                    group.start_soon(read, name, peer)
                    with room.joined(ws, metadata=name):
                        if room.size == members:
                            all_joined.set()
                        await all_published.wait()
                        await ws.flush()
                    group.cancel_scope.cancel()
        except WebSocketDisconnected as end:
            ends[name] = end

    async def read(name, peer):
        if name == "stalled":
            return
        while name != "dead" or len(got[name]) < 10:
            got[name].append(await peer.receive())
            if name == "slow":
                await anyio.sleep(1)
        peer.vanish()

    async with anyio.create_task_group() as group:
        for number in range(members - 3):
            group.start_soon(member, number)
        for name in ("stalled", "dead", "slow"):
            group.start_soon(member, name, 4)
        await all_joined.wait()
        started = anyio.current_time()
        for message in everything:
            assert room.publish(message) >= members - 3
            await anyio.sleep(0.001)
        # The three have caused no delay.
        assert anyio.current_time() - started == pytest.approx(0.001 * MESSAGES)
        all_published.set()

    for number in range(members - 3):
        assert got[number] == everything
    assert set(ends) == {"stalled", "dead", "slow"}
    assert (ends["stalled"].code, ends["slow"].code) == (1013, 1013)
    assert ends["dead"].code != 1013
    assert room.members == ()
    assert room.statistics().disconnected == 2
    assert got["slow"] == everything[: len(got["slow"])]


@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda server: server.name)
async def test_a_stalled_member_ends_at_once_on_every_server(personality):
    room = rooms.Room("r")
    small = Options(send_buffer=4)
    left_after, codes = [], []

    async with anyio.create_task_group() as group:
        try:
            async with opened(small, personality=personality, send_queue=1) as (ws, peer):
                group.start_soon(vanish_later, peer)
                started = anyio.current_time()
                with room.joined(ws):
                    await publish(room, 10)
                    try:
                        await anyio.sleep_forever()
                    finally:
                        left_after.append(anyio.current_time() - started)
        except WebSocketDisconnected as end:
            codes.append(end.code)
    assert left_after == [0]
    assert codes == [1013]
    assert room.members == ()


async def publish(room, count):
    for number in range(count):
        room.publish(str(number))
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()


async def vanish_later(peer):
    """On some servers a stalled send returns only when the peer is gone."""
    await anyio.sleep(60)
    peer.vanish()
