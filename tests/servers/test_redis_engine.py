"""`RedisEngine` over a real server: the promises of shared rooms, on both backends."""

import pytest

from tests.servers._redis import needs_redis, redis_server
from wsnursery.redis import RedisEngine
from wsnursery.testing import check_engine

pytestmark = [needs_redis, pytest.mark.anyio]


@pytest.fixture(scope="module")
def redis():
    with redis_server() as server:
        yield server


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    """In real time, because real servers answer in it."""
    return request.param


async def test_check_engine(redis):
    engines = []

    def make():
        engines.append(RedisEngine(redis.tcp_url, probe=0.5, lease=2))
        return engines[-1]

    async def interrupt():
        redis.cli("CLIENT", "KILL", "TYPE", "pubsub")

    await check_engine(make, interrupt=interrupt)
