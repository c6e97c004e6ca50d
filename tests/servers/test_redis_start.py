"""Where `RedisEngine` cannot begin: an outage is waited for, a wrong setting is a sentence."""

import logging
import socket

import anyio
import pytest

from tests.servers._redis import RedisServer, needs_redis, redis_server
from tests.servers._redis_world import ROOM, world
from wsnursery.redis import RedisEngine
from wsnursery.rooms import EngineAway, EngineMisconfigured, SharedRooms

pytestmark = [needs_redis, pytest.mark.anyio]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


async def test_redis_is_away_at_the_start(caplog):
    with redis_server() as redis:
        redis.kill()
        async with world() as here:
            rooms = await here.worker(redis.url, live=False)
            member = await here.member(rooms, synchronized=False)
            for number in range(10):
                here.sent.append(f"A{number}")
                assert rooms.publish(ROOM, here.sent[-1])
            await anyio.sleep(0.3)
            assert (rooms.state, rooms.statistics().held) == ("connecting", 10)
            assert (member.member.position, rooms.present(ROOM)) == (None, ())
            await anyio.to_thread.run_sync(redis.start)
            await rooms.wait_live()
            await here.settled()
            here.check_nothing_missing()
    reasons = [record.message for record in caplog.records if "is away" in record.message]
    assert "No such file" in reasons[0]
    # A server that starts may refuse for another reason, once. Many attempts had the first one.
    assert len(reasons) == len(set(reasons)) <= 2


async def test_what_is_held_is_bounded_and_given_up():
    with redis_server() as redis:
        redis.kill()
        async with world() as here:
            rooms = await here.worker(
                redis.url, live=False, hold_messages=5, hold_bytes=100, hold_seconds=0.3
            )
            assert [rooms.publish(ROOM, "x") for _ in range(7)] == [True] * 5 + [False] * 2
            with pytest.raises(EngineAway, match="too many messages are held"):
                await rooms.publish_confirmed(ROOM, "x")
            await here.until(lambda: rooms.statistics().held == 0)
            assert rooms.statistics().refused == 8
            began = anyio.current_time()
            with pytest.raises(EngineAway, match=r"has not answered within 0\.3 s"):
                await rooms.publish_confirmed(ROOM, "x")
            assert 0.2 < anyio.current_time() - began < 1
            assert not (rooms.publish(ROOM, "x" * 60) and rooms.publish(ROOM, "x" * 60))


async def refusal(url):
    """What `run` raises at once."""
    with anyio.fail_after(5), pytest.raises(EngineMisconfigured) as caught:
        await SharedRooms(RedisEngine(url)).run()
    return str(caught.value)


async def test_a_wrong_password():
    with redis_server("--requirepass", "right") as redis:
        path = redis.socket
        assert "WRONGPASS" in await refusal(f"unix://:wrong@{path}")
        sentence = await refusal(f"unix://{path}")
        assert sentence.startswith("Redis refuses the connection: NOAUTH")
        async with world() as here:
            await here.worker(f"unix://:right@{path}")


async def test_a_wrong_database():
    with redis_server() as redis:
        assert "DB index is out of range" in await refusal(f"unix://{redis.socket}?db=7")
        async with world() as here:
            here_too = await here.worker(f"{redis.tcp_url}/2")
            elsewhere = await here.worker(f"{redis.tcp_url}/1")
            await here.member(here_too)
            await here.member(elsewhere)
            await elsewhere.publish_confirmed(ROOM, "in another database")
            await here_too.publish_confirmed(ROOM, "A0")
            await here.until(lambda: here.members[0].texts == ["A0"])
            assert [member.reported for member in here.members] == [0, 0]


async def test_a_user_without_permission():
    with redis_server() as redis:
        redis.cli("ACL", "SETUSER", "nobody", "on", ">secret", "+ping")
        assert "NOPERM" in await refusal(f"unix://nobody:secret@{redis.socket}")


async def test_the_permissions_that_the_documentation_lists():
    with redis_server() as redis:
        rules = ["on", ">secret", "~wsnursery:*", "&wsnursery:*", "-@all"]
        redis.cli("ACL", "SETUSER", "rooms", *rules, *[f"+{one}" for one in COMMANDS.split()])
        async with world() as here:
            rooms = await here.worker(f"unix://rooms:secret@{redis.socket}")
            await here.member(rooms)
            async with here.publishing():
                await anyio.sleep(0.6)  # beats and probes, too
            await here.settled()
            here.check_nothing_missing()
            assert rooms.statistics().reconnects == 0


COMMANDS = """hello select script|load evalsha subscribe unsubscribe publish info time expire
hmget hset hdel hexists hgetall rpush lpop lrange llen get set del sadd srem smembers zadd zrem
zscore zrangebyscore"""


async def test_too_many_clients(caplog, anyio_backend):
    with redis_server("--maxclients", "3") as redis:
        # A unix socket that Redis has closed refuses the first write, a TCP connection does not.
        url = redis.url if anyio_backend == "trio" else redis.tcp_url
        async with world() as here:
            for _ in range(2):
                await here.worker(url)
            with socket.socket(socket.AF_UNIX) as another:
                another.connect(redis.socket)
                another.sendall(b"PING\r\n")
                assert another.recv(100) == b"+PONG\r\n"
                third = await here.worker(url, live=False)
                await here.until(lambda: "max number of clients" in caplog.text)
                states = [rooms.state for rooms in here.workers]
                assert states == ["live", "live", "connecting"]
            await third.wait_live()


async def test_a_configuration_that_becomes_wrong_is_an_outage(caplog):
    """The password is changed: the application goes on, and says why it has no Redis."""
    with redis_server("--requirepass", "old") as redis:
        url = [f"unix://:old@{redis.socket}"]

        async def locate():
            return url[0]

        async with world() as here:
            rooms = await here.worker(locate)
            with caplog.at_level(logging.WARNING):
                redis.kill()
                again = RedisServer(redis.directory, "--requirepass", "new")
                await anyio.to_thread.run_sync(again.start)
                try:
                    await here.until(lambda: "WRONGPASS" in caplog.text)
                    assert rooms.state == "away"
                    url[0] = f"unix://:new@{redis.socket}"
                    await rooms.wait_live()
                finally:
                    again.kill()


@pytest.mark.parametrize("wait", [0, 0.001, 0.01, 0.05])
async def test_leaving_never_waits(wait):
    with redis_server() as redis:
        async with world() as here:  # which measures how long it takes
            rooms = await here.worker(redis.tcp_url, live=False)
            await here.member(rooms, synchronized=False)
            rooms.publish(ROOM, "a")
            await anyio.sleep(wait)
