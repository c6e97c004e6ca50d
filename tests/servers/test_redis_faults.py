"""What breaks between workers and Redis: no silent loss, no repetition, one order.

Each scenario is short. ``WSNURSERY_SEEDS=200`` runs that many seeds of each, for a nightly run.
"""

import os
import random
import signal
import subprocess
import sys

import anyio
import pytest

from tests.servers._redis import Proxy, needs_redis, redis_server
from tests.servers._redis_world import LEASE, PROBE, ROOM, world
from wsnursery.rooms import Joined

pytestmark = [needs_redis, pytest.mark.anyio]

SEEDS = range(int(os.environ.get("WSNURSERY_SEEDS", "1")))

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
EVERY_SECOND = ("--appendonly", "yes", "--appendfsync", "everysec")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture(params=SEEDS)
def rng(request):
    return random.Random(request.param)


@pytest.fixture
def redis():
    with redis_server("--repl-diskless-sync-delay", "0") as server:
        yield server


async def populate(here, url, **options):
    """Two workers with two members each."""
    for _ in range(2):
        rooms = await here.worker(url, **options)
        for _ in range(2):
            await here.member(rooms)


def reconnected(here, times):
    """Whether all workers have reconnected so often."""
    return lambda: all(rooms.statistics().reconnects == times for rooms in here.workers)


# connections


async def test_connections_are_killed(redis, rng):
    async with world() as here:
        await populate(here, redis.tcp_url)
        async with here.publishing():
            for _ in range(4):
                await anyio.sleep(rng.uniform(0.02, 0.3))
                redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
        await here.settled()
        here.check_nothing_missing()
        assert all(rooms.statistics().reconnects for rooms in here.workers)


async def test_one_worker_is_away_for_longer_than_the_history(redis, rng):
    async with Proxy(redis.port) as proxy, world() as here:
        away = await here.worker(proxy.url, history=20)
        here_all_along = await here.worker(redis.tcp_url, history=20)
        for rooms in (away, here_all_along):
            await here.member(rooms)
        async with here.publishing(here_all_along):
            await anyio.sleep(0.1)
            proxy.refuse()
            await anyio.sleep(rng.uniform(0.3, 0.6))
            behind, stays = here.members
            # A slow publisher has not passed the history by now.
            await here.until(lambda: len(stays.got) - len(behind.got) > 20)
            proxy.accept()
            await anyio.sleep(0.2)
        await here.settled()
        here.check_nothing_silent(exact=True)
        assert here.members[0].reported > 0
        assert here.members[1].reported == 0
        assert away.statistics().gaps == 1


async def test_a_proxy_delays_and_cuts_in_the_middle_of_a_frame(redis, rng):
    async with Proxy(redis.port) as proxy, world() as here:
        await populate(here, proxy.url)
        async with here.publishing():
            for _ in range(6):
                proxy.delay = rng.choice((0, 0.02, 0.05))
                await anyio.sleep(rng.uniform(0.05, 0.2))
                proxy.cut_after(rng.randrange(300))
        proxy.delay = 0
        await here.settled()
        here.check_nothing_missing()


async def test_a_half_open_connection_is_noticed(redis):
    """The proxy swallows everything: TCP says nothing."""
    async with Proxy(redis.port) as proxy, world() as here:
        await populate(here, proxy.url)
        async with here.publishing():
            await anyio.sleep(0.1)
            proxy.swallow()
            began = anyio.current_time()
            await here.until(lambda: all(rooms.state == "away" for rooms in here.workers))
            assert anyio.current_time() - began < 3 * PROBE + 0.5
            proxy.deliver()
        await here.settled()
        here.check_nothing_missing()


# the server


@pytest.mark.parametrize("options", [ALWAYS, EVERY_SECOND, ()], ids=["always", "everysec", "none"])
async def test_the_server_is_killed_and_started_again(options, rng):
    with redis_server(*options) as redis:
        async with world() as here:
            await populate(here, redis.tcp_url, history=10**6)
            async with here.publishing():
                for _ in range(2):
                    await anyio.sleep(rng.uniform(0.1, 0.4))
                    redis.kill()
                    await anyio.sleep(rng.uniform(0, 0.2))
                    await anyio.to_thread.run_sync(redis.start)
                await anyio.sleep(0.1)
            await here.settled()
            # Presence is announced anew.
            await here.until(lambda: all(len(w.present(ROOM)) == 4 for w in here.workers))
            if options == ALWAYS:
                here.check_nothing_missing()
            elif options == EVERY_SECOND:
                # While an earlier second is written to the disk, Redis answers before it writes.
                here.check_only_lost_with_the_server(await here.kept(redis.tcp_url))
            else:
                here.check_nothing_silent()


async def test_a_message_whose_answer_is_lost_with_the_server(redis):
    """One worker has seen it, the other publishes it again, behind what came first by then."""
    async with Proxy(redis.port) as proxy, world() as here:
        loses = await here.worker(proxy.url, probe=60, lease=60)  # so that only answers come
        quicker = await here.worker(redis.tcp_url)
        for rooms in (quicker, loses):
            await here.member(rooms)
        has_seen, _ = here.members
        await here.all_answered(loses)  # so that the cut comes before the answer to A0
        here.sent += ["A0", "B0"]
        proxy.refuse_new()
        proxy.cut_after(0)
        loses.publish(ROOM, "A0")
        await here.until(lambda: has_seen.texts == ["A0"])
        redis.kill()
        await anyio.to_thread.run_sync(redis.start)
        await quicker.publish_confirmed(ROOM, "B0")
        proxy.accept()
        await here.settled()
        here.check_nothing_silent()
        texts = [member.texts[:-1] for member in here.members]
        assert texts == [["A0", "B0", "A0"], ["B0", "A0"]]
        assert [member.reported for member in here.members] == [1, 1]
        assert here.numbered_again() == {"A0"}


async def test_the_server_stands_still(redis):
    async with world() as here:
        await populate(here, redis.tcp_url)
        async with here.publishing():
            redis.signal(signal.SIGSTOP)
            began = anyio.current_time()
            await here.until(lambda: all(rooms.state == "away" for rooms in here.workers))
            assert anyio.current_time() - began < 3 * PROBE + 0.5
            redis.signal(signal.SIGCONT)
            await anyio.sleep(0.1)
        await here.settled()
        here.check_nothing_missing()


async def test_everything_is_flushed(redis):
    async with world() as here:
        await populate(here, redis.tcp_url)
        async with here.publishing():
            await anyio.sleep(0.1)
            redis.cli("FLUSHALL")
            await anyio.sleep(0.1)
        await here.settled()
        here.check_nothing_silent()
        assert all(member.reported >= 1 for member in here.members)
        await here.until(lambda: all(len(w.present(ROOM)) == 4 for w in here.workers))


async def test_scripts_are_flushed(redis):
    async with world() as here:
        await populate(here, redis.tcp_url)
        async with here.publishing():
            await anyio.sleep(0.1)
            redis.cli("SCRIPT", "FLUSH")
            await anyio.sleep(0.2)
        await here.settled()
        here.check_nothing_missing()


async def test_keys_are_evicted(redis, rng):
    """As with ``maxmemory-policy allkeys-random``: reported, and other rooms are not affected."""
    async with world() as here:
        await populate(here, redis.tcp_url)
        async with here.publishing():
            for kind in ("m", "h", "p"):
                await anyio.sleep(0.1)
                redis.cli("DEL", f"wsnursery:{{{ROOM}}}:{kind}")
        await here.settled()
        here.check_nothing_silent()
        # Each worker announces its own people, whichever of them first finds that the key is gone.
        await here.until(lambda: redis.cli("HLEN", f"wsnursery:{{{ROOM}}}:p") == ":4\r\n")
        await here.until(lambda: all(len(w.present(ROOM)) == 4 for w in here.workers))


async def test_out_of_memory(redis, caplog):
    async with world() as here:
        await populate(here, redis.tcp_url)
        async with here.publishing():
            redis.cli("CONFIG", "SET", "maxmemory", "1")
            await here.until(lambda: all(rooms.state == "away" for rooms in here.workers))
            redis.cli("CONFIG", "SET", "maxmemory", "0")
        await here.settled()
        here.check_nothing_missing()
    assert "OOM" in caplog.text


async def test_a_replica_that_lags_is_promoted(redis):
    """What the members of one worker saw of the old primary is gone; the others miss nothing."""
    with redis_server("--replicaof", "127.0.0.1", str(redis.port)) as replica:
        address = [redis.tcp_url]

        async def locate():
            return address[0]

        async with world() as here:
            member_of = await here.worker(locate)
            other = await here.worker(locate)
            member = await here.member(member_of)
            for number in range(10):
                here.sent.append(f"old{number}")
                await other.publish_confirmed(ROOM, here.sent[-1])
            await here.until(
                lambda: "\r\n10\r\n" in replica.cli("HGET", f"wsnursery:{{{ROOM}}}:m", "n")
            )
            replica.cli("REPLICAOF", "NO", "ONE")  # it lags from here on
            for number in range(10, 13):
                here.sent.append(f"old{number}")
                await other.publish_confirmed(ROOM, here.sent[-1])
            await here.until(lambda: len(member.got) == 13)
            address[0] = replica.tcp_url
            redis.kill()
            for number in range(5):
                here.sent.append(f"new{number}")
                await other.publish_confirmed(ROOM, here.sent[-1])
            await here.settled()
            here.check_order()
            assert not here.missing(member)
            # Three that it saw are not in the history, so no other member can ever get them.
            assert member.reported == 1
            late = await here.member(member_of, replay=100)
            await here.until(lambda: len(late.got) == 16)
            assert late.reported == 0


async def test_two_primaries_at_the_same_time(redis):
    """What one worker saw of the losing one is gone, and no position comes twice."""
    with redis_server("--replicaof", "127.0.0.1", str(redis.port)) as replica:
        address = [redis.tcp_url]

        async def locate():
            return address[0]

        async with world() as here:
            moves = await here.worker(locate)
            stays = await here.worker(redis.tcp_url)
            member, other = await here.member(moves), await here.member(stays)
            for number in range(3):
                await stays.publish_confirmed(ROOM, f"old{number}")
            await here.until(
                lambda: "\r\n3\r\n" in replica.cli("HGET", f"wsnursery:{{{ROOM}}}:m", "n")
            )
            replica.cli("REPLICAOF", "NO", "ONE")
            address[0] = replica.tcp_url
            redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
            await here.until(reconnected(here, 1))
            await moves.publish_confirmed(ROOM, "lost")
            for number in range(2):
                await stays.publish_confirmed(ROOM, f"kept{number}")
            await here.until(lambda: (len(member.got), len(other.got)) == (4, 5))
            address[0] = redis.tcp_url
            replica.kill()
            await here.until(lambda: moves.statistics().reconnects == 2)
            await here.settled()
            old = ["old0", "old1", "old2"]
            assert member.texts[:-1] == [*old, "lost"]
            assert other.texts[:-1] == [*old, "kept0", "kept1"]
            assert (member.reported, other.reported) == (1, 0)
            assert len(set(member.positions)) == len(member.positions)


async def test_a_replica_is_refused(redis, caplog):
    with redis_server("--replicaof", "127.0.0.1", str(redis.port)) as replica:
        async with world() as here:
            rooms = await here.worker(replica.tcp_url, live=False)
            await here.until(lambda: "is a replica" in caplog.text)
            assert rooms.state == "connecting"
            replica.cli("REPLICAOF", "NO", "ONE")
            await rooms.wait_live()


FLOOD = """
import sys
import anyio
from wsnursery.redis import RedisEngine
from wsnursery.rooms import SharedRooms

async def main(url, room):
    rooms = SharedRooms(RedisEngine(url), history=50)
    async with anyio.create_task_group() as group:
        await group.start(rooms.run)
        for number in range(2000):
            while not rooms.publish(room, f"{number} " + 10_000 * "x"):
                await anyio.sleep(0.001)
        await rooms.publish_confirmed(room, "end")
        group.cancel_scope.cancel()

anyio.run(main, *sys.argv[1:])
"""
"""Another worker, which publishes 20 MB."""


async def test_a_worker_that_is_too_slow_is_cut_off(redis):
    """Its loop stands still, Redis ends the connection, and what is lost is counted exactly."""
    redis.cli("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 1")
    async with world() as here:
        slow = await here.worker(redis.tcp_url, history=50)
        member = await here.member(slow)

        # In another process, and waited for without awaiting: this loop is to stand still.
        command = [sys.executable, "-c", FLOOD, redis.tcp_url, ROOM]
        subprocess.run(command, check=True, timeout=60)  # noqa: ASYNC221
        await here.until(lambda: bool(member.got) and member.texts[-1] == "end")
        await anyio.sleep(0.05)
        assert len(member.got) + member.reported == 2001
        assert member.reported > 0
        assert slow.statistics().reconnects >= 1


# presence


async def test_a_worker_dies_and_its_people_are_gone_within_the_lease(redis):
    async with Proxy(redis.port) as proxy, world() as here:
        stays = await here.worker(redis.tcp_url)
        dies = await here.worker(proxy.url)
        await here.member(stays, metadata="stays")
        await here.member(dies, metadata="dies")
        await here.until(lambda: len(stays.present(ROOM)) == 2)
        proxy.refuse()
        began = anyio.current_time()
        await here.until(lambda: len(stays.present(ROOM)) == 1)
        assert LEASE * 0.5 < anyio.current_time() - began < LEASE + PROBE + 0.5
        # Its lease has expired, and it recovers by itself.
        proxy.accept()
        await here.until(lambda: len(stays.present(ROOM)) == 2)
        await here.until(lambda: len(dies.present(ROOM)) == 2)


async def test_a_short_interruption_does_not_flap(redis):
    async with world() as here:
        await populate(here, redis.tcp_url, lease=5)
        await here.until(lambda: all(len(w.present(ROOM)) == 4 for w in here.workers))
        with here.workers[0].presence(ROOM) as changes:
            for times in (1, 2):
                redis.cli("CLIENT", "KILL", "TYPE", "pubsub")
                await here.until(reconnected(here, times))
                await here.settled()
            await here.member(here.workers[1], metadata="new")
            change = await anext(changes)
            assert isinstance(change, Joined)
            assert change.who.metadata == "new"


async def test_a_person_who_left_while_redis_was_away_is_not_present_afterwards(redis):
    async with Proxy(redis.port) as proxy, world() as here:
        watches = await here.worker(redis.tcp_url, lease=60)
        rooms = await here.worker(proxy.url, lease=60)
        await here.member(watches, metadata="watches")
        async with anyio.create_task_group() as group:
            there = await group.start(here._be_member, rooms, ROOM, {"metadata": "leaves"})
            await here.until(lambda: len(watches.present(ROOM)) == 2)
            proxy.refuse()
            await here.until(lambda: rooms.state == "away")
            group.cancel_scope.cancel()
        here.members.remove(there)
        proxy.accept()
        await here.until(lambda: len(watches.present(ROOM)) == 1)
