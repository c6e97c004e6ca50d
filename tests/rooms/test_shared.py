"""Shared rooms over an engine that the test controls, and over the one in memory."""

import logging
import re
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.rooms._engine import ScriptedEngine, scripted
from tests.rooms._members import missed, opened, received
from wsnursery import LocalProtocolError, Options
from wsnursery.rooms import (
    EngineAway,
    EngineMisconfigured,
    Joined,
    Left,
    MemoryEngine,
    MessageTooBig,
    Person,
    Position,
    SharedRooms,
    SharedStatistics,
)

pytestmark = pytest.mark.usefixtures("over_both_paths")


# synchronized with the engine


async def test_the_first_snapshot_fills_the_history_of_waiting_members():
    async with scripted() as (rooms, engine), opened() as (one, peer), opened() as (two, other):
        with rooms.joined("r", one, replay=2) as member:
            assert engine.taken() == [("enter", "r", None)]
            assert str(member.position) == "None"
            with rooms.joined("r", two, after=Position("e", 4), metadata="Bob") as resumed:
                engine.answer("e", 5, "abc")  # 3, 4, 5
                assert await received(peer) == ["b", "c"]
                assert await received(other) == ["c"]
                assert member.position == resumed.position == Position("e", 5)
                assert engine.taken() == [("announce", "r", None), ("announce", "r", "Bob")]
                engine.push("e", 6, "d")
                assert await received(peer) == await received(other) == ["d"]
                assert (await missed(member), await missed(resumed)) == (0, 0)
        assert engine.taken() == [("retract", "r"), ("retract", "r"), ("leave", "r")]


async def test_a_repeated_message_is_not_delivered_again():
    async with scripted() as (rooms, engine), opened() as (ws, peer):
        with rooms.joined("r", ws):
            engine.answer("e", 5)
            engine.push("e", 5, "again")
            engine.push("e", 6, "new")
            engine.push("e", 6, "new")
            assert await received(peer) == ["new"]


async def test_what_does_not_follow_asks_for_a_snapshot_and_is_counted_exactly():
    async with scripted() as (rooms, engine), opened() as (ws, peer):
        with rooms.joined("r", ws) as member:
            engine.answer("e", 5)
            engine.taken()
            engine.push("e", 7, "b")
            assert engine.taken() == [("enter", "r", Position("e", 5))]
            assert rooms.statistics().not_live == 1
            engine.push("e", 8, "c")  # the snapshot has it
            engine.answer("e", 9, "bcd")  # 7, 8, 9: 6 is no longer kept
            assert await received(peer) == [*"bcd"]
            assert await missed(member) == 1
            assert rooms.statistics() == SharedStatistics(0, 2, 1, 0, 0, None, 1, 0)


async def test_a_fork_that_had_everything_is_not_noticed():
    async with scripted() as (rooms, engine), opened() as (ws, peer):
        with rooms.joined("r", ws) as member:
            engine.answer("e", 5)
            engine.taken()
            engine.push("f", 6, "a")
            assert engine.taken() == [("enter", "r", Position("e", 5))]
            engine.answer("f", 7, "ab", ends={"e": 5})
            engine.push("f", 8, "c")
            assert await received(peer) == [*"abc"]
            assert await missed(member) == 0
            assert member.position == Position("f", 8)
            assert rooms.statistics().gaps == 0


async def test_a_fork_before_the_members_position_is_counted():
    async with scripted() as (rooms, engine), opened() as (ws, peer), opened() as (late, other):
        with rooms.joined("r", ws) as member:
            engine.answer("e", 0)
            for number, text in enumerate("abcde", 1):
                engine.push("e", number, text)
            engine.answer("f", 4, "x", ends={"e": 3})  # d and e are gone
            assert await received(peer) == [*"abcdex"]
            assert await missed(member) == 1
            # ... and a client of the old epoch is notified of the gap.
            with rooms.joined("r", late, after=Position("e", 5)) as seen_too_much:
                assert await received(other) == ["x"]
                assert await missed(seen_too_much) == 1
            with rooms.joined("r", late, after=Position("e", 2)) as in_time:
                assert await received(other) == ["c", "x"]
                assert await missed(in_time) == 0


async def test_an_engine_that_has_begun_anew_delivers_all_that_it_has():
    async with scripted() as (rooms, engine), opened() as (ws, peer):
        with rooms.joined("r", ws) as member:
            engine.answer("e", 40)
            engine.answer("f", 3, "bc")
            assert await received(peer) == ["b", "c"]
            assert await missed(member) == 2  # the lost one, and message 1 of the new epoch
            assert member.position == Position("f", 3)


async def test_an_unknown_epoch_with_a_past_goes_on_at_its_top():
    """The members may already have its messages."""
    async with scripted() as (rooms, engine), opened() as (ws, peer):
        with rooms.joined("r", ws) as member:
            engine.answer("e", 40)
            engine.answer("g", 41, "ab", ends={"f": 40})
            engine.push("g", 42, "c")
            assert await received(peer) == ["c"]
            assert await missed(member) == 1


async def test_an_older_epoch_that_is_back_repeats_nothing():
    """A replica was promoted beside its primary, and is gone again: the primary has no fork."""
    async with scripted() as (rooms, engine), opened() as (ws, peer):
        with rooms.joined("r", ws, replay=10) as member:
            engine.answer("e", 2, "ab")
            engine.answer("f", 3, "c", {"e": 2})
            engine.answer("e", 4, "abxy")
            assert await received(peer) == ["a", "b", "c"]
            assert await missed(member) == 1
            engine.push("e", 5, "z")
            assert await received(peer) == ["z"]
            assert member.position == Position("e", 5)


async def test_away_and_back():
    async with scripted() as (rooms, engine), opened() as (ws, peer):
        with rooms.joined("r", ws) as member:
            engine.sink.connected()
            assert engine.taken() == [("enter", "r", None)] * 2
            engine.answer("e", 1)
            engine.become("live")
            await rooms.wait_live()
            engine.become("away")
            assert rooms.state == "away"
            assert rooms.statistics().not_live == 1
            engine.push("e", 2, "not in step")
            async with anyio.create_task_group() as group:
                group.start_soon(rooms.wait_live)
                await anyio.wait_all_tasks_blocked()
                engine.sink.connected()
                engine.answer("e", 3, "ab", people={})
                engine.become("live")
            assert await received(peer) == ["a", "b"]
            assert await missed(member) == 0


async def test_what_concerns_a_room_that_was_left_is_ignored():
    async with scripted() as (rooms, engine):
        engine.answer("e", 1)
        engine.push("e", 2, "a")
        engine.sink.people_joined("r", {"p": None})
        engine.sink.people_left("r", ["p"])
        assert rooms.statistics().rooms == 0


async def test_a_connection_that_ends_while_it_waits_affects_no_other():
    async with scripted() as (rooms, engine), opened() as (two, other), opened() as (one, peer):
        with rooms.joined("r", one, replay=5), rooms.joined("r", two, replay=5):
            peer.close()
            async for _ in one:
                pytest.fail("there is no message")
            engine.answer("e", 1, "a")
            assert await received(other) == ["a"]


async def test_a_stamp_that_fails_is_logged_and_counted(caplog):
    def stamp(message, position):
        if message == "bad":
            raise LookupError("in the stamp")
        return f"{position} {message}"

    async with scripted(stamp=stamp) as (rooms, engine), opened() as (ws, peer):
        with rooms.joined("r", ws) as member, caplog.at_level(logging.ERROR):
            engine.answer("e", 0)
            engine.push("e", 1, "bad")
            engine.push("e", 2, "good")
            assert await received(peer) == ["e.2 good"]
            assert await missed(member) == 1
    assert "the stamp of the shared room 'r' has failed" in caplog.text


# presence


async def test_presence_is_the_engines_snapshot_and_its_changes():
    async with scripted() as (rooms, engine), opened() as (ws, _):
        with rooms.presence("r") as changes, rooms.joined("r", ws, metadata="Ann"):
            engine.answer("e", 0, people={"b": "Bob", "c": "Cy"})
            assert engine.taken() == [("enter", "r", None), ("announce", "r", "Ann")]
            bob, cy = Person("b", "Bob", here=False), Person("c", "Cy", here=False)
            assert rooms.present("r") == (bob, cy)
            assert [await anext(changes), await anext(changes)] == [Joined(bob), Joined(cy)]
            engine.sink.people_joined("r", {"b": "Bob"})  # announced a second time
            engine.sink.people_left("r", ["c", "unknown"])
            assert await anext(changes) == Left(cy)
            engine.answer("e", 0, people={"d": "Di"})
            assert await anext(changes) == Left(bob)
            di = Person("d", "Di", here=False)
            assert await anext(changes) == Joined(di)
            assert rooms.present("r") == (di,)
        assert rooms.present("r") == ()


async def test_a_worker_whose_lease_expired_announces_its_people_again():
    async with scripted() as (rooms, engine), opened() as (ws, _):
        with rooms.joined("r", ws, metadata="Ann"):
            engine.answer("e", 0)
            engine.taken()
            [(id_, person)] = own(rooms)
            engine.sink.people_joined("r", {id_: "Ann"})
            assert rooms.present("r") == (Person(id_, "Ann", here=True),)
            engine.sink.people_left("r", [id_])
            assert engine.taken() == [("announce", "r", "Ann")]
            engine.answer("e", 0, people={id_: "Ann"})
            assert engine.taken() == []
            assert rooms.present("r") == (person,)


def own(rooms):
    [room] = rooms._followed
    return room._own_ids.items()


async def test_a_flap_that_was_not_read_is_not_shown():
    async with scripted() as (rooms, engine):
        with rooms.presence("r") as changes:
            engine.answer("e", 0, people={"b": "Bob"})
            await anext(changes)
            engine.sink.people_left("r", ["b"])
            engine.sink.people_joined("r", {"b": "Bob"})
            with anyio.move_on_after(1) as nothing:
                await anext(changes)
            assert nothing.cancelled_caught
            engine.sink.people_left("r", ["b"])
            engine.sink.people_joined("r", {"b": "Bobby"})
            assert (await anext(changes)).who.metadata == "Bobby"


# lingering


async def test_a_room_that_was_left_is_followed_for_a_while():
    async with scripted(linger=5.0) as (rooms, engine), opened() as (ws, _):
        with rooms.joined("r", ws), rooms.joined("s", ws):
            engine.answer("e", 0)
        engine.taken()
        await anyio.sleep(4)
        with rooms.joined("r", ws):  # synchronized, so no snapshot is requested
            assert [call[0] for call in engine.taken()] == ["announce"]
            await anyio.sleep(3)
            assert engine.taken() == [("leave", "s")]
        await anyio.sleep(4)
        with rooms.joined("r", ws):
            pass
        engine.taken()
        await anyio.sleep(4.9)
        assert engine.taken() == []
        await anyio.sleep(0.2)
        assert engine.taken() == [("leave", "r")]
        with rooms.joined("r", ws):
            pass
        with rooms.joined("t", ws):
            await anyio.sleep(6)
        assert rooms.statistics().rooms == 1


async def test_a_room_that_was_left_after_a_run_does_not_end_the_next_one():
    engine = MemoryEngine()
    rooms = SharedRooms(engine, linger=5.0)

    @asynccontextmanager
    async def running():
        async with anyio.create_task_group() as group:
            await group.start(rooms.run)
            await rooms.wait_live()
            yield
            group.cancel_scope.cancel()

    async with opened() as (ws, peer):
        with ExitStack() as stack:
            async with running():
                with rooms.joined("r", ws):
                    pass  # it lingers
                stack.enter_context(rooms.joined("r", ws))
        async with running():
            await anyio.sleep(6)
            with rooms.joined("r", ws):
                assert rooms.publish("r", "a")
                assert await received(peer) == ["a"]


# publishing


async def test_publish():
    async with scripted() as (rooms, engine):
        assert rooms.publish("r", bytearray(b"a"), key="k")
        assert rooms.publish_json("s", {"b": 1})
        assert [(one.room, one.message, one.key) for one in engine.outgoing] == [
            ("r", b"a", "k"),
            ("s", '{"b":1}', None),
        ]
        wrong: Any
        for wrong in (None, {"a": 1}):
            with pytest.raises(TypeError):
                rooms.publish("r", wrong)
        with pytest.raises(ValueError, match="surrogate"):
            rooms.publish("\ud800", "a")
        with pytest.raises(ValueError, match="surrogate"):
            await rooms.publish_confirmed("r", "\ud800")
        assert len(engine.outgoing) == 2


async def test_publish_confirmed():
    async with scripted() as (rooms, engine), anyio.create_task_group() as group:
        outcomes = []

        async def publish():
            try:
                outcomes.append(await rooms.publish_confirmed("r", "a"))
            except OSError as exc:
                outcomes.append(exc)

        for _ in range(2):
            group.start_soon(publish)
        await anyio.wait_all_tasks_blocked()
        settle: list[Any] = [one.settle for one in engine.outgoing]
        settle[0](Position("e", 1))
        settle[1](EngineAway("too late"))
        await anyio.wait_all_tasks_blocked()
        assert sorted(map(str, outcomes)) == ["e.1", "too late"]


async def test_publish_confirmed_raises_when_the_limits_are_reached():
    rooms = SharedRooms(MemoryEngine(max_message=10))
    with pytest.raises(MessageTooBig, match=r"at most 10 bytes \(max_message\), got 11"):
        rooms.publish("r", "x" * 11)
    rooms = SharedRooms(MemoryEngine())
    for _ in range(8):
        assert rooms.publish("r", "x" * 2**20)
    assert not rooms.publish("r", "x")
    assert rooms.statistics().refused == 1
    with pytest.raises(EngineAway, match="too many messages are held"):
        await rooms.publish_confirmed("r", "x")


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_calls_from_another_thread_are_refused():  # contract: T5
    async with scripted() as (rooms, engine), opened() as (ws, _):

        def work():
            sentence = re.escape("anyio.from_thread.run_sync(rooms.publish, name, message)")
            with pytest.raises(RuntimeError, match=sentence):
                rooms.publish("r", "a")
            with pytest.raises(RuntimeError, match=sentence), rooms.joined("r", ws):
                pytest.fail("it is refused")
            with pytest.raises(RuntimeError, match=sentence), rooms.presence("r"):
                pytest.fail("it is refused")
            assert anyio.from_thread.run_sync(rooms.publish, "r", "a")

        await anyio.to_thread.run_sync(work)
        assert len(engine.outgoing) == 1
        assert engine.calls == []


# misuse


async def test_wrong_arguments():
    with pytest.raises(ValueError, match="history"):
        SharedRooms(ScriptedEngine(), history=-1)
    with pytest.raises(ValueError, match="linger must be 0 or more seconds, got -1"):
        SharedRooms(ScriptedEngine(), linger=-1)
    wrong: Any = "wait"
    async with scripted() as (rooms, engine), opened() as (ws, _):
        with pytest.raises(TypeError):
            rooms.joined("r", ws, metadata=object())
        with pytest.raises(ValueError, match="replay"):
            rooms.joined("r", ws, replay=-1)
        with pytest.raises(ValueError, match="surrogate"):
            rooms.joined("\ud800", ws)
        with pytest.raises(ValueError, match="overflow"):
            rooms.joined("r", ws, overflow=wrong)
        membership = rooms.joined("r", ws)
        with membership:
            with pytest.raises(LocalProtocolError, match="already in the room 'r'"):
                rooms.joined("r", ws).__enter__()
            engine.answer("e", 0)
            with pytest.raises(LocalProtocolError, match="already in the room 'r'"):
                rooms.joined("r", ws).__enter__()
            with pytest.raises(LocalProtocolError, match=re.escape("call joined() again")):
                membership.__enter__()
        await ws.close()
        with pytest.raises(anyio.ClosedResourceError), rooms.joined("r", ws):
            pytest.fail("it is refused")
        assert rooms.statistics().rooms == 0


async def test_running_twice_is_refused():
    async with scripted() as (rooms, _):
        assert repr(rooms) == "<SharedRooms: connecting, 0 rooms>"
        with pytest.raises(LocalProtocolError, match="running already"):
            await rooms.run()


async def test_an_engine_that_can_never_be_reached_ends_it_with_a_bare_error():
    engine = ScriptedEngine()
    rooms = SharedRooms(engine)

    async def fail():
        engine.fail(EngineMisconfigured("a wrong password"))

    async with anyio.create_task_group() as group:
        group.start_soon(fail)
        with pytest.raises(EngineMisconfigured, match="a wrong password"):
            await rooms.run()


# in memory


async def test_rooms_of_one_worker_keep_their_history():
    rooms = SharedRooms(MemoryEngine(history_ttl=60), history=10, linger=0)
    async with anyio.create_task_group() as group, opened() as (ws, peer):
        await group.start(rooms.run)
        await rooms.wait_live()
        with rooms.presence("stays"):
            positions = [await rooms.publish_confirmed(room, "a") for room in ("r", "stays")]
            await anyio.sleep(59)
            with rooms.joined("r", ws, after=Position(positions[0].epoch, 0)):
                assert await received(peer) == ["a"]
            await anyio.sleep(61)
            rooms.publish("another", "b")
            for room, expected in (("stays", ["a"]), ("r", [])):
                with rooms.joined(room, ws, replay=1):
                    assert await received(peer) == expected
        group.cancel_scope.cancel()
    assert rooms.state == "away"


async def test_an_engine_in_memory_runs_once():
    engine = MemoryEngine()
    async with anyio.create_task_group() as group:
        await group.start(SharedRooms(engine).run)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(LocalProtocolError, match="running already"):
            await SharedRooms(engine).run()
        group.cancel_scope.cancel()


async def test_all_workers_see_one_order_when_a_hook_publishes():
    """A hook of one member publishes while a message is delivered."""
    engine = MemoryEngine()
    one, two = SharedRooms(engine), SharedRooms(MemoryEngine(engine))
    seen: list[object] = []

    def hook(event):
        if getattr(event, "message", None) == "first" and not seen:
            seen.append(event)
            two.publish("r", "second")

    async with anyio.create_task_group() as group, opened(Options(hooks=[hook])) as (a, peer):
        await group.start(one.run)
        await group.start(two.run)
        await anyio.wait_all_tasks_blocked()
        async with opened() as (b, other), opened() as (c, third):
            with one.joined("r", a), one.joined("r", b), two.joined("r", c):
                two.publish("r", "first")
                for each in (peer, other, third):
                    assert await received(each) == ["first", "second"]
        group.cancel_scope.cancel()


async def test_a_worker_that_stops_and_runs_again():
    engine = MemoryEngine()
    rooms = SharedRooms(engine, history=5)
    other = SharedRooms(MemoryEngine(engine), history=5)
    with ExitStack() as stack:
        async with opened() as (ws, peer), anyio.create_task_group() as group:
            await group.start(other.run)
            await other.wait_live()
            member = stack.enter_context(rooms.joined("r", ws))
            for round_ in range(2):
                with anyio.move_on_after(1):
                    await rooms.run()
                for number in range(3):
                    other.publish("r", f"{round_} {number}")
            with anyio.move_on_after(1):
                await rooms.run()
            assert await received(peer) == [f"{r} {n}" for r in range(2) for n in range(3)]
            assert await missed(member) == 0
            stack.close()
            group.cancel_scope.cancel()


async def test_the_hold_gives_up_what_is_held_for_too_long():
    from wsnursery.rooms import Outgoing
    from wsnursery.rooms._hold import Hold

    outcomes: list[object] = []
    hold = Hold(2, 100, 30)
    assert hold.put(Outgoing("r", "a", settle=outcomes.append))
    await anyio.sleep(50)  # the seconds count from the start on
    hold.start_clock(anyio.current_time)
    hold.start_clock(anyio.current_time)
    async with anyio.create_task_group() as group:
        group.start_soon(hold.give_up_late)
        await anyio.sleep(10)
        assert hold.put(Outgoing("r", "b", settle=outcomes.append))
        assert not hold.put(Outgoing("r", "c"))
        first = hold.take()
        assert first is not None
        await anyio.sleep(15)
        assert outcomes == []
        await anyio.sleep(6)
        [error] = outcomes
        assert isinstance(error, EngineAway)
        assert str(error) == "the engine of the shared rooms has not answered within 30 s"
        hold.settle(first, Position("e", 1))  # the answer comes too late
        assert (len(hold), hold.bytes, hold.refused, len(outcomes)) == (1, 1, 2, 1)
        hold.take_again()
        second = hold.take()
        assert second is not None
        assert second.outgoing.message == "b"
        hold.settle(second, Position("e", 1))
        assert outcomes[1] == Position("e", 1)
        assert hold.put(Outgoing("r", "c"))
        await anyio.sleep(31)  # it is dropped before it is taken
        assert hold.take() is None
        group.cancel_scope.cancel()


async def test_an_engine_that_ends_by_itself_ends_the_run():
    engine = ScriptedEngine()
    engine.fail(None)
    await SharedRooms(engine).run()


async def test_people_of_an_engine_that_does_not_run_are_not_announced():
    engine = MemoryEngine()
    engine.announce("r", "p", None)
    assert engine._store.rooms == {}


async def test_a_stamp_may_publish_to_another_room():
    def stamp(message, position):
        if message != "logged":
            rooms.publish("log", "logged")
        return message

    rooms = SharedRooms(MemoryEngine(), stamp=stamp)
    async with anyio.create_task_group() as group, opened() as (ws, peer):
        await group.start(rooms.run)
        await rooms.wait_live()
        with rooms.joined("r", ws), rooms.joined("log", ws):
            rooms.publish("r", "a")
            assert await received(peer) == ["a", "logged"]
        group.cancel_scope.cancel()


async def test_running_lasts_as_long_as_the_block():
    rooms = SharedRooms(MemoryEngine())
    async with rooms.running():
        await rooms.wait_live()
    assert rooms.state == "away"
