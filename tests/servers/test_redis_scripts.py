"""The scripts apart, on a real server: numbers, retries, trimming, forks, leases, times to live."""

import socket
from itertools import count
from pathlib import Path

import hiredis
import pytest

from tests.servers._redis import needs_redis, redis_server
from wsnursery.redis import _scripts
from wsnursery.redis._scripts import Keys

pytestmark = needs_redis

KEYS = Keys("p:")
ROOM = "r"


class Client:
    """A connection that waits for its replies, and one that is subscribed to the room."""

    def __init__(self, path: str) -> None:
        self._sockets = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        self._readers = [hiredis.Reader() for _ in range(2)]
        for one in self._sockets:
            one.settimeout(5)
            one.connect(path)
        self("FLUSHALL")
        self._call(1, "SUBSCRIBE", KEYS.channel(ROOM))
        self._names = count()

    def __call__(self, *command: str | bytes | float):
        return self._call(0, *command)

    def _call(self, which, *command):
        self._sockets[which].sendall(hiredis.pack_command(command))
        return self._read(which)

    def _read(self, which):
        while (reply := self._readers[which].gets()) is False:
            self._readers[which].feed(self._sockets[which].recv(1 << 16))
        return reply

    def pushed(self):
        """The next push."""
        return self._read(1)[2].decode()

    def close(self):
        for one in self._sockets:
            one.close()

    def publish(
        self, place, *messages, previous="", confirmed="", history=100, size=1000, by="me", ttl=60
    ):
        """Publish, and return the positions of the confirmed messages."""
        keys = [KEYS.meta(ROOM), KEYS.history(ROOM), KEYS.last_of(ROOM, by)]
        keys += [KEYS.confirmed(ROOM, f"{by}:{place + int(i)}") for i in confirmed.split()]
        limits = [history, size, ttl]
        arguments = [KEYS.channel(ROOM), f"e{next(self._names)}", *limits, place, previous]
        reply = self("EVAL", _scripts.PUBLISH, len(keys), *keys, *arguments, confirmed, *messages)
        return reply if isinstance(reply, Exception) else [one.decode() for one in reply]

    def synchronize(self, epoch="", number=0, *, history=100, lease=15):
        """The snapshot for a worker that has this position."""
        keys = [KEYS.meta(ROOM), KEYS.history(ROOM), KEYS.present(ROOM), KEYS.workers]
        arguments = [epoch, number, history, f"e{next(self._names)}", 60, ROOM, lease]
        epoch, number, ends, messages, people = self(
            "EVAL", _scripts.SYNCHRONIZE, len(keys), *keys, *arguments
        )
        return (
            f"{epoch.decode()} {int(number)}",
            ends.decode(),
            [message.decode() for message in messages],
            [one.decode() for one in people],
        )

    def kept(self):
        """The history."""
        return [one.decode() for one in self("LRANGE", KEYS.history(ROOM), 0, -1)]

    def fork(self):
        """What another server would see: it has not given the last number."""
        self("HSET", KEYS.meta(ROOM), "i", "another")


@pytest.fixture(scope="module")
def server():
    with redis_server() as server:
        yield server


@pytest.fixture
def redis(server):
    client = Client(str(Path(server.socket)))
    yield client
    client.close()


def test_messages_are_numbered_together(redis):
    assert redis.publish(1, "ta", "tbb", confirmed="0 1") == ["e0 1", "e0 2"]
    assert redis.publish(3, "", previous="2") == []
    assert [redis.pushed(), redis.pushed()] == ["me0 1 2 3:tatbb", "me0 3 0:"]
    assert redis.kept() == ["ta", "tbb", ""]
    assert redis.synchronize("e0", 1) == ("e0 3", "", ["tbb", ""], [])


@pytest.mark.parametrize("done", range(4))
def test_a_retry_numbers_only_what_has_no_number(redis, done):
    """The answer is lost, and what was sent in one batch or in several is sent again in one."""
    for place in range(1, done + 1):
        redis.publish(place, f"t{place}", previous=place - 1 or "", confirmed="0")
    redis.publish(1, "tother", by="another")
    positions = redis.publish(1, "t1", "t2", "t3", confirmed="0 2")
    numbers = [int(position.split()[1]) for position in positions]
    assert numbers == [1 if done else 2, 3 if done == 3 else 4]
    assert sorted(redis.kept()) == ["t1", "t2", "t3", "tother"]
    assert redis.publish(1, "t1", "t2", "t3", confirmed="0 2") == positions
    # Its position is known only if it was confirmed at first.
    assert redis.publish(2, "t2", confirmed="0") == ["e0 2" if done >= 2 else ""]
    assert len(redis.kept()) == 4


def test_a_batch_after_one_that_has_failed_fails(redis):
    redis.publish(1, "t1")
    refusal = redis.publish(4, "t4", previous=3)
    assert str(refusal).startswith("ORDER the message before this one has not been numbered")
    assert redis.publish(2, "t2", "t3", previous=1) == []
    assert redis.publish(4, "t4", previous=3) == []
    assert redis.kept() == ["t1", "t2", "t3", "t4"]


@pytest.mark.parametrize(("history", "most"), [(0, 0), (1, 1), (3, 3), (8, 10), (100, 125)])
def test_the_history_has_the_wanted_messages_and_few_more(redis, history, most):
    sent = [f"t{number}" for number in range(1, 301)]
    for place, message in enumerate(sent, 1):
        redis.publish(place, message, history=history, size=10_000)
        kept = redis.kept()
        assert min(history, place) <= len(kept) <= most
        assert kept == sent[place - len(kept) : place]
        assert int(redis("HGET", KEYS.meta(ROOM), "b")) == sum(map(len, kept))
    *_, messages, _ = redis.synchronize(history=history)
    assert messages == sent[len(sent) - history :]


def test_the_history_is_bounded_in_bytes(redis):
    for place in range(1, 10, 3):
        redis.publish(place, "t" * 4, "u" * 5, "v" * 3, size=10)
        assert redis.kept() == ["u" * 5, "v" * 3]
    redis.publish(10, "too big" * 2, size=10)
    assert redis.kept() == []
    redis.publish(11, "t" * 10, size=10)
    assert redis.kept() == ["t" * 10]
    assert redis.synchronize("e0", 9) == ("e0 11", "", ["t" * 10], [])


def test_a_history_that_is_gone_is_counted_anew(redis):
    redis.publish(1, "t" * 9, size=10)
    redis("DEL", KEYS.history(ROOM))
    redis.publish(2, "t2", "t3", size=10)
    assert redis.kept() == ["t2", "t3"]
    assert redis.publish(4, "t4", history=0) == []
    assert redis.kept() == []
    assert redis.synchronize("e0", 1) == ("e0 4", "", [], [])


def test_a_fork_goes_on_counting_in_a_new_epoch(redis):
    redis.publish(1, "t1", "t2")
    redis.fork()
    assert redis.publish(3, "t3", confirmed="0") == ["e1 3"]
    redis.fork()
    position, ends, messages, _ = redis.synchronize("e0", 1)
    assert (position, ends, messages) == ("e2 3", "e1 3 e0 2", ["t2", "t3"])
    # What a worker saw beyond the end is not in this sequence.
    assert redis.synchronize("e0", 9)[2] == ["t3"]
    for _ in range(2 * _scripts.OLDER_EPOCHS):
        redis.fork()
        redis.synchronize()
    assert len(redis.synchronize()[1].split()) == 2 * _scripts.OLDER_EPOCHS


def test_keys_expire(redis):
    redis.publish(1, "t1", confirmed="0", ttl=50)
    keys = sorted(key.decode() for key in redis("KEYS", "*"))
    assert keys == [f"p:{{r}}:{key}" for key in ("c:me:1", "h", "m", "o:me")]
    assert {redis("TTL", key) for key in keys} <= {49, 50}
    redis.synchronize()
    assert {redis("TTL", KEYS.meta(ROOM)), redis("TTL", KEYS.history(ROOM))} <= {59, 60}


def announce(redis, worker, person):
    keys = [KEYS.present(ROOM), KEYS.rooms_of(worker)]
    arguments = [worker, KEYS.channel(ROOM), ROOM, 60, "j", person, '"Ann"']
    redis("EVAL", _scripts.ANNOUNCE, len(keys), *keys, *arguments)


def beat(redis, worker, lease=15.0, retired=""):
    keys = [KEYS.workers, KEYS.rooms_of(worker)]
    arguments = [worker, lease, KEYS.prefix, 60, retired]
    return redis("EVAL", _scripts.BEAT, len(keys), *keys, *arguments)


def people(redis, **options):
    return redis.synchronize(**options)[-1][::2]


def test_people_are_present_while_their_worker_has_a_lease(redis):
    beat(redis, "w1")
    redis("ZADD", KEYS.workers, 1, "w2")  # it has ended
    announce(redis, "w1", "a")
    announce(redis, "w2", "b")
    assert people(redis) == ["a"]
    assert beat(redis, "w3") == 1  # which removes the people of w2
    assert redis("HLEN", KEYS.present(ROOM)) == 1
    assert beat(redis, "w3", retired="w1") == 1
    assert people(redis) == []


@pytest.mark.parametrize("lives", [True, False])
@pytest.mark.parametrize("evicted", [("p:w",), ("p:w", "p:w:w1")])
def test_a_lease_that_was_evicted(redis, evicted, lives):
    """A worker that synchronizes before the next heartbeat misses nobody, and sees no ghost."""
    beat(redis, "w1")
    announce(redis, "w1", "a")
    redis("DEL", *evicted)
    assert people(redis, lease=15 if lives else -1) == ["a"]
    assert beat(redis, "w2") == (0 if lives else 1)
    assert people(redis) == (["a"] if lives else [])
    assert redis("HLEN", KEYS.present(ROOM)) == lives
    assert redis("TTL", KEYS.workers) > 0
