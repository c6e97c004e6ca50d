"""`RedisEngine` over a Redis in memory whose answers the test controls."""

import logging
import re

import anyio
import pytest

from tests.redis._peer import Error, Peer, connected
from tests.rooms._members import missed, opened, received
from wsnursery import LocalProtocolError, testing
from wsnursery.redis import RedisEngine
from wsnursery.redis._address import Address
from wsnursery.rooms import (
    EngineAway,
    EngineMisconfigured,
    MessageTooBig,
    Position,
    SharedRooms,
    SharedStatistics,
)

CHANNEL = "wsnursery:{r}"


# a session


async def test_the_first_commands(monkeypatch):
    url = "redis://Ann:pass%40word@localhost/2"
    async with connected(monkeypatch, url=url) as (_, peer):
        await anyio.wait_all_tasks_blocked()
        assert peer.commands[:2] == [
            ["HELLO", "3", "AUTH", "Ann", "pass@word"],
            ["SELECT", "2"],
        ]
        [beat] = peer.named("beat")[:1]
        assert beat[1] == "wsnursery:2:w"


async def test_messages_come_in_order(monkeypatch):
    async with connected(monkeypatch) as (rooms, peer), opened() as (ws, wire):
        peer.answers["synchronize"] = ["e", "3", "", ["t3"], []]
        with rooms.joined("r", ws, replay=1) as member:
            await anyio.wait_all_tasks_blocked()
            peer.message("r", "me 4 5:ttext")
            peer.message("r", "me 5 6 12:bbytesT4:k:\ntkeyed")
            peer.message("another", "me 6 13:tnot followed")
            assert await received(wire) == ["3", "text", b"bytes", "keyed"]
            assert member.position == Position("e", 6)
            assert (
                peer.named("SUBSCRIBE")[1],
                ["UNSUBSCRIBE", CHANNEL],
            ) == (["SUBSCRIBE", CHANNEL], ["UNSUBSCRIBE", CHANNEL])
        await anyio.wait_all_tasks_blocked()
        assert peer.named("UNSUBSCRIBE") == [["UNSUBSCRIBE", CHANNEL]]


async def test_a_snapshot_has_ends_and_people(monkeypatch):
    async with connected(monkeypatch) as (rooms, peer), opened() as (ws, _):
        peer.answers["synchronize"] = ["f", "9", "e 7 d 5", [], ["p", '"Bob"']]
        with rooms.joined("r", ws, after=Position("e", 7)) as member:
            await anyio.wait_all_tasks_blocked()
            assert await missed(member, 0.1) == 2
            [bob] = [person for person in rooms.present("r") if not person.here]
            assert (bob.id, bob.metadata) == ("p", "Bob")
            peer.message("r", 'j{"q":{"name":"Cy"}}')
            peer.message("r", 'l["p"]')
            await anyio.wait_all_tasks_blocked()
            assert [person.metadata for person in rooms.present("r")] == [{"name": "Cy"}]


async def test_people_are_announced_in_one_step(monkeypatch):
    async with (
        connected(monkeypatch) as (rooms, peer),
        opened() as (one, _),
        opened() as (two, _),
        opened() as (three, _),
    ):
        with rooms.joined("r", one, metadata="Ann"):
            with rooms.joined("r", two, metadata={"é": 1}):
                await anyio.wait_all_tasks_blocked()
                [announced] = peer.named("announce")
                assert announced[1] == "wsnursery:{r}:p"
                assert announced[-3::2] == ['"Ann"', '{"é":1}']
            with rooms.joined("r", three):  # comes and goes unseen
                pass
            await anyio.wait_all_tasks_blocked()
            [retracted] = peer.named("retract")
            assert retracted[4] == ""
        await anyio.wait_all_tasks_blocked()
        assert peer.named("retract")[1][4] == "r"  # the last one of this worker
        assert len(peer.named("announce")) == 1


async def test_publishing(monkeypatch):
    async with connected(monkeypatch) as (rooms, peer):
        assert rooms.publish("r", "a", key="k")
        assert await rooms.publish_confirmed("s", b"b") == Position("e", 2)
        first, second = (command.arguments for command in peer.named("publish"))
        assert (first[-1], second[-1]) == ("T1:ka", "bb")
        assert (first[7], second[7]) == ("", "0")  # which positions are wanted
        with pytest.raises(MessageTooBig, match=r"at most 1048576 bytes \(max_message\)"):
            rooms.publish("r", "x" * (2**20 + 1))


async def test_messages_to_one_room_are_sent_together(monkeypatch):
    async with connected(monkeypatch) as (rooms, peer), anyio.create_task_group() as group:
        outcomes = {}

        async def publish(room, text):
            outcomes[text] = (await rooms.publish_confirmed(room, text)).number

        for room, text in (("r", "a"), ("r", "b"), ("s", "c"), ("r", "d")):
            rooms.publish(room, text * 2)
            group.start_soon(publish, room, text)
        await anyio.wait_all_tasks_blocked()
        sent = [command.arguments for command in peer.named("publish")]
        assert [one[8:] for one in sent[:3]] == [["taa", "tbb"], ["tcc"], ["tdd"]]
        assert sum(len(one) - 8 for one in sent) == 8
        assert sorted(outcomes) == ["a", "b", "c", "d"]
        assert set(outcomes.values()) == {5, 6, 7, 8}


async def test_the_publishes_in_flight_are_bounded(monkeypatch):
    async with connected(monkeypatch) as (rooms, peer):
        await anyio.wait_all_tasks_blocked()
        peer.answers["publish"] = ...
        for number in range(300):
            assert rooms.publish("rs"[number % 2], "x")
        await anyio.wait_all_tasks_blocked()
        places = [command.arguments[5] for command in peer.named("publish")]
        assert places == [str(number) for number in range(1, 129)]
        previous = [command.arguments[6] for command in peer.named("publish")]
        assert previous == ["", "", *[str(number) for number in range(1, 127)]]
        del peer.answers["publish"]
        peer.stream.put(64 * b"*0\r\n")
        await anyio.wait_all_tasks_blocked()
        assert len(peer.named("publish")) == 300


async def test_a_batch_is_bounded(monkeypatch):
    async with connected(monkeypatch) as (rooms, peer):
        await anyio.wait_all_tasks_blocked()
        peer.answers["publish"] = ...
        for size in (2**15, 2**15 + 1, 1, *[2**19] * 3):
            assert rooms.publish("r", "x" * size)
        await anyio.wait_all_tasks_blocked()
        sizes = [[len(one) - 1 for one in run.arguments[8:]] for run in peer.named("publish")]
        assert sizes == [[2**15, 2**15 + 1], [1, 2**19], [2**19]]
        [previous] = peer.named("publish")[-1].arguments[6:7]
        assert previous == "4"


async def test_what_was_on_its_way_is_sent_again(monkeypatch):
    async with connected(monkeypatch) as (rooms, peer), anyio.create_task_group() as group:
        peer.answers_nothing = True
        outcomes = []

        async def publish(text):
            try:
                outcomes.append(await rooms.publish_confirmed("r", text))
            except EngineAway as exc:
                outcomes.append(exc)

        for text in ("a", "b"):
            group.start_soon(publish, text)
            await anyio.wait_all_tasks_blocked()
        peer.answers_nothing = False
        # The position of one is known, that of the other no longer.
        peer.answers["publish"] = ["e 1", ""]
        peer.stream.end()
        await anyio.sleep(1)
        assert [run.arguments[8:] for run in peer.named("publish")] == [
            ["ta"],
            ["tb"],
            ["ta", "tb"],
        ]
        [known] = [one for one in outcomes if isinstance(one, Position)]
        [unknown] = [one for one in outcomes if isinstance(one, EngineAway)]
        assert known == Position("e", 1)
        assert str(unknown) == "Redis has numbered the message, but no longer knows its position"


async def test_a_worker_has_a_new_name_in_each_session_and_retires_the_old_one(monkeypatch):
    async with connected(monkeypatch) as (rooms, peer), opened() as (ws, _):
        with rooms.joined("r", ws, metadata="Ann"):
            await anyio.wait_all_tasks_blocked()
            peer.stream.end()
            await anyio.sleep(1)
            one, two = [command[3] for command in peer.named("announce")]
            assert one != two
            assert [command[-1] for command in peer.named("beat")].count(one) == 1
            names = [command[0] for command in peer.commands]
            assert names.index("announce", names.index("announce") + 1) < max(
                index for index, command in enumerate(peer.commands) if command[-1] == one
            )
        assert rooms.statistics().reconnects == 1


# lost data


async def test_a_push_that_cannot_be_read_harms_one_room(monkeypatch, caplog):
    async with connected(monkeypatch) as (rooms, peer), opened() as (ws, wire):
        with rooms.joined("r", ws), rooms.joined("s", ws):
            await anyio.wait_all_tasks_blocked()
            for wrong in (
                "",
                "?",
                "m",
                "me x 2:ta",
                "me 1",
                "me 1 1:?",
                "me 1 4:Tx:y",
                "me 1 x:ta",
                "j[",
                "l",
            ):
                peer.message("r", wrong)
            peer.push("message", b"\xff", "m")
            peer.message("s", "me 1 5:tgood")
            assert await received(wire) == ["good"]
    assert "Redis has data under wsnursery:{r} that are not from wsnursery" in caplog.text


async def test_a_snapshot_that_cannot_be_read_harms_one_room(monkeypatch, caplog):
    async with connected(monkeypatch) as (rooms, peer), opened() as (ws, wire):
        good, bad = ["e", "0", "", [], []], ["e", "0", "", ["?"], []]
        peer.answers["synchronize"] = lambda command: bad if "{r}" in command[1] else good
        with rooms.joined("r", ws), rooms.joined("s", ws):
            await anyio.wait_all_tasks_blocked()
            peer.message("s", "me 1 5:tgood")
            assert await received(wire) == ["good"]
            assert rooms.statistics().not_live == 1
    assert "unknown kind of message" in caplog.text


async def test_evicted_presence_is_announced_again(monkeypatch):
    async with connected(monkeypatch) as (rooms, peer), opened() as (ws, _):
        with rooms.joined("r", ws, metadata="Ann"), rooms.joined("s", ws, metadata="Bob"):
            await anyio.wait_all_tasks_blocked()
            peer.answers["look"] = [1]
            announced, synchronized = (len(peer.named(n)) for n in ("announce", "synchronize"))
            await anyio.sleep(6)
            [again] = peer.named("synchronize")[synchronized:]
            assert again[1:3] == ["wsnursery:{s}:m", "wsnursery:{s}:h"]
            [again] = peer.named("announce")[announced:]
            assert again[-1] == '"Bob"'


async def test_the_person_who_was_announced_first_is_looked_for(monkeypatch):
    """A person who came after the eviction would hide it."""
    async with connected(monkeypatch) as (rooms, peer), opened() as (one, _), opened() as (two, _):
        with rooms.joined("r", one):
            await anyio.sleep(1)
            with rooms.joined("r", two):
                await anyio.sleep(10)
                first, second = (command[-2] for command in peer.named("announce"))
                assert peer.named("look")[-1][1:] == ["wsnursery:{r}:p", first]
            await anyio.sleep(10)
            assert peer.named("look")[-1][-1] == first
            assert second != first


async def test_evicted_presence_of_a_room_that_was_left(monkeypatch):
    async with connected(monkeypatch) as (rooms, peer), opened() as (ws, _):
        with rooms.joined("r", ws):
            await anyio.wait_all_tasks_blocked()
            peer.answers["look"] = ...
            await anyio.sleep(6)
        synchronized = len(peer.named("synchronize"))
        peer.stream.put(b"*1\r\n:0\r\n")
        await anyio.wait_all_tasks_blocked()
        assert len(peer.named("synchronize")) == synchronized


async def test_rooms_are_renewed_while_they_are_followed(monkeypatch):
    async with connected(monkeypatch, history_ttl=60) as (rooms, peer), opened() as (ws, _):
        with rooms.joined("r", ws):
            await anyio.sleep(21)
            keys = [command[1] for command in peer.named("EXPIRE")]
            assert keys == [f"{CHANNEL}:{kind}" for kind in "mhp"]


async def test_a_room_that_is_left_before_the_answer(monkeypatch):
    async with connected(monkeypatch) as (rooms, peer), opened() as (ws, _):
        peer.answers_nothing = True
        with rooms.joined("r", ws):
            await anyio.wait_all_tasks_blocked()
        with rooms.joined("s", ws):
            pass  # not even requested
        peer.answers_nothing = False
        peer.stream.put(b"*5\r\n+e\r\n+0\r\n$0\r\n\r\n*0\r\n*0\r\n")
        await anyio.wait_all_tasks_blocked()
        assert rooms.statistics() == SharedStatistics(0, 0, 0, 0, 0, 0.0, 0, 0)


# reconnecting


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (lambda stream: stream.end(), "Redis has closed the connection"),
        (lambda stream: stream.break_(), "the connection to Redis is broken: reset"),
        (lambda stream: stream.put(b"nonsense\r\n"), "Protocol error"),
        (lambda stream: stream.put(b"-ERR closing\r\n"), "Redis says: ERR closing"),
    ],
    ids=["closed", "broken", "nonsense", "surprise"],
)
async def test_a_lost_connection(monkeypatch, caplog, fault, sentence):
    async with connected(monkeypatch) as (rooms, peer):
        await anyio.sleep(1)
        fault(peer.stream)
        await anyio.sleep(0.001)
        assert rooms.state == "away"
        await rooms.wait_live()
        assert rooms.statistics().reconnects == 1
    assert sentence in caplog.text


async def test_a_write_that_fails(monkeypatch, caplog):
    async with connected(monkeypatch) as (rooms, peer):
        await anyio.sleep(1)
        peer.stream.is_broken = True  # only the next send notices
        rooms.publish("r", "a")
        await anyio.sleep(1.001)
        assert rooms.state == "away"
    assert "the connection to Redis is broken: pipe" in caplog.text


async def test_what_redis_says_before_it_closes_is_read_when_nothing_can_be_written(
    monkeypatch, caplog
):
    words = "ERR max number of clients reached"
    async with connected(monkeypatch, live=False, last_words=words) as (rooms, peer):
        await anyio.sleep(10)
        assert rooms.state == "connecting"
        peer.last_words = ""
        await rooms.wait_live()
    assert [record.getMessage() for record in caplog.records] == [
        f"the rooms' Redis is away, and is tried again: {words}"
    ]


async def test_an_outage_with_the_same_reason_is_logged_again_after_a_session_that_lasted(
    monkeypatch, caplog
):
    async with connected(monkeypatch) as (rooms, peer):
        for seconds in (4, 6, 4):
            await anyio.sleep(seconds)
            peer.stream.end()
            await anyio.sleep(0.001)
            await rooms.wait_live()
    assert caplog.text.count("Redis has closed the connection") == 2


@pytest.mark.parametrize("refusal", ["OOM command not allowed", "READONLY replica", "NOSCRIPT no"])
async def test_a_refusal_is_treated_like_a_lost_connection(monkeypatch, caplog, refusal):
    async with connected(monkeypatch) as (rooms, peer):
        peer.answers["publish"] = Error(refusal)
        rooms.publish("r", "a")
        await anyio.sleep(3)
        assert rooms.statistics().held == 1
        del peer.answers["publish"]
        await anyio.sleep(6)
        assert rooms.statistics().held == 0
    logged = [record for record in caplog.records if refusal in record.getMessage()]
    assert len(logged) == 1


async def test_a_silent_connection_is_given_up_after_three_probes(monkeypatch, caplog):
    async with connected(monkeypatch, probe=2) as (rooms, peer):
        await anyio.sleep(20)
        assert rooms.statistics().round_trip == 0
        returned = anyio.current_time()
        peer.answers_nothing = True
        while rooms.state == "live":  # noqa: ASYNC110 - it has no event for that
            await anyio.sleep(0.1)
        assert 4 <= anyio.current_time() - returned <= 6.1
        assert "Redis has delivered nothing for 6 s" in caplog.text
        peer.answers_nothing = False
        await rooms.wait_live()


async def test_pauses_grow_and_a_session_that_lasted_resets_them(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    async with connected(monkeypatch) as (rooms, peer):
        await anyio.sleep(10)
        began = anyio.current_time()
        peer.failures.extend(OSError(f"away {number}") for number in range(9))
        peer.stream.end()
        await anyio.sleep(0.001)
        await rooms.wait_live()
        # 0.05 + 0.1 + ... + 3.2 + 5 + 5 + 5
        assert anyio.current_time() - began == pytest.approx(0.05 * 127 + 15)
        await anyio.sleep(10)
        began = anyio.current_time()
        peer.stream.end()
        await anyio.sleep(0.001)
        await rooms.wait_live()
        assert anyio.current_time() - began == pytest.approx(0.05)


async def test_a_login_that_takes_too_long(monkeypatch, caplog):
    async with connected(monkeypatch, live=False, connect_timeout=2) as (rooms, peer):
        peer.answers_nothing = True
        await anyio.sleep(1.9)
        assert len(peer.streams) == 1
        await anyio.sleep(1)
        assert len(peer.streams) == 2
        await anyio.sleep(10)
        peer.answers_nothing = False
        await rooms.wait_live()
    assert caplog.text.count("Redis has not answered within 2 s (connect_timeout)") == 1


async def test_attempts_that_take_long_are_no_session_that_lasted(monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    async with connected(monkeypatch, live=False, connect_timeout=6) as (_, peer):
        peer.answers_nothing = True
        await anyio.sleep(6 * 4 + 0.05 + 0.1 + 0.2 + 0.3)
        assert len(peer.streams) == 4
        await anyio.sleep(0.2)
        assert len(peer.streams) == 5


async def test_a_replica_is_refused(monkeypatch, caplog):
    async with connected(monkeypatch, live=False) as (rooms, peer):
        peer.answers["HELLO"] = {"version": "7.0", "role": "replica"}
        await anyio.sleep(1)
        assert rooms.state == "connecting"
        del peer.answers["HELLO"]
        await rooms.wait_live()
    assert "redis://localhost:6379/0 is a replica" in caplog.text


# misconfigured


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Error("WRONGPASS invalid password"), "refuses the connection: WRONGPASS invalid password"),
        (Error("NOAUTH Authentication required"), "refuses the connection: NOAUTH"),
        (Error("DENIED protected mode"), "refuses the connection: DENIED protected mode"),
        (Error("ERR unknown command 'HELLO'"), "refuses the connection: ERR unknown command"),
        ({"version": "6.2.1", "role": "master"}, "must be version 7 or newer, got 6.2.1"),
    ],
)
async def test_what_no_waiting_ends_is_an_error(monkeypatch, answer, sentence):
    peer = Peer()
    peer.answers["HELLO"] = answer
    monkeypatch.setattr(Address, "connect", peer.connect)
    with pytest.raises(EngineMisconfigured, match=re.escape(sentence)):
        await SharedRooms(RedisEngine("redis://localhost")).run()
    assert peer.stream.is_closed


async def test_a_wrong_setting_after_the_first_session_is_an_outage(monkeypatch, caplog):
    async with connected(monkeypatch) as (rooms, peer):
        peer.answers["HELLO"] = Error("WRONGPASS it was changed")
        peer.stream.end()
        await anyio.sleep(2)
        assert rooms.state == "away"
        peer.answers["HELLO"] = {"version": "6.2.1", "role": "master"}
        await anyio.sleep(10)
        del peer.answers["HELLO"]
        await rooms.wait_live()
    assert "WRONGPASS it was changed" in caplog.text


async def test_the_url_may_be_asked_for_every_time(monkeypatch):
    asked: list[int] = []

    async def locate():
        asked.append(len(asked))
        return f"redis://host{len(asked)}"

    async with connected(monkeypatch, url=locate) as (rooms, peer):
        peer.stream.end()
        await anyio.sleep(0.001)
        await rooms.wait_live()
        assert asked == [0, 1]


async def test_a_url_that_was_asked_for_and_is_wrong(monkeypatch, caplog):
    """At the start it is a wrong setting, later an outage."""
    urls = ["http://host"]

    async def locate():
        return urls[0]

    with pytest.raises(EngineMisconfigured, match=r"^the URL of Redis must be redis://"):
        await SharedRooms(RedisEngine(locate)).run()
    urls[0] = "redis://host"
    async with connected(monkeypatch, url=locate) as (rooms, peer):
        urls[0] = "http://host"
        peer.stream.end()
        await anyio.sleep(1)
        assert rooms.state == "away"
        urls[0] = "redis://host"
        await rooms.wait_live()
    assert "is tried again: the URL of Redis must be redis://" in caplog.text


async def test_the_exception_of_the_function_that_gives_the_url_leaves_bare():
    async def locate():
        raise LookupError("no such secret")

    with pytest.raises(LookupError, match="no such secret"):
        await SharedRooms(RedisEngine(locate)).run()


async def test_running_twice_is_refused(monkeypatch):
    async with connected(monkeypatch) as (rooms, _):
        assert repr(rooms._engine) == "<RedisEngine: live, 0 held>"
        with pytest.raises(LocalProtocolError, match="make one RedisEngine for each SharedRooms"):
            await SharedRooms(rooms._engine).run()


def test_wrong_arguments():
    with pytest.raises(ValueError, match="the URL of Redis must be"):
        RedisEngine("http://localhost")
    with pytest.raises(ValueError, match="probe must be more than 0, got 0"):
        RedisEngine("redis://localhost", probe=0)
    with pytest.raises(ValueError, match="lease must be more than 0, got nan"):
        RedisEngine("redis://localhost", lease=float("nan"))


async def test_calls_before_a_session_do_nothing():
    rooms = SharedRooms(RedisEngine("redis://localhost"), linger=0)
    async with opened() as (ws, _):
        with rooms.joined("r", ws):
            assert rooms.statistics().rooms == 1
        engine = rooms._engine
        engine.announce("r", "p", None)
        engine.retract("r", "p")
        assert rooms.statistics().rooms == 0
        assert (rooms.state, rooms.statistics().round_trip) == ("connecting", None)


# cancelled at any moment


@pytest.mark.parametrize("fault", [False, True], ids=["well", "breaking"])
async def test_cancelled_at_every_step_it_leaves_nothing(monkeypatch, fault, caplog):
    """No task, no stream, no waiter, whatever the moment."""
    caplog.set_level(logging.ERROR)
    reached = set()
    for steps in range(60):
        peer = Peer()
        monkeypatch.setattr(Address, "connect", peer.connect)
        rooms = SharedRooms(RedisEngine("redis://localhost"), history=10, linger=0)
        async with (
            testing.no_leaks(),
            opened() as (ws, _),
            anyio.create_task_group() as group,
        ):
            with rooms.joined("r", ws, metadata="Ann"):
                rooms.publish("r", "a")
                group.start_soon(rooms.run)
                for step in range(steps):
                    await anyio.lowlevel.checkpoint()
                    if fault and step == steps - 3 and peer.streams:
                        peer.stream.end()
                reached.add((rooms.state, len(peer.commands)))
                group.cancel_scope.cancel()
        assert all(stream.is_closed for stream in peer.streams)
        assert rooms.state != "live"
    assert len(reached) > 5
