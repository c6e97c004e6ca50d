"""Clients that resume on a worker which lags behind them: no position comes twice."""

import anyio
import pytest

from tests.rooms._engine import scripted
from tests.rooms._members import missed, opened, received
from wsnursery import LocalProtocolError
from wsnursery.rooms import MemoryEngine, Position, SharedRooms


async def test_a_worker_that_lags_asks_before_it_decides():
    async with scripted() as (rooms, engine), opened() as (one, peer), opened() as (two, other):
        with rooms.joined("r", one) as member:
            engine.answer("e", 5, "abc")
            engine.taken()
            with rooms.joined("r", two, after=Position("e", 7), replay=3) as resumed:
                assert engine.taken() == [("enter", "r", Position("e", 5))]
                assert await received(other) == []
                assert str(resumed.position) == "None"
                assert rooms.statistics().not_live == 0
                engine.push("e", 6, "d")  # the others do not wait
                assert await received(peer) == ["d"]
                engine.answer("e", 8, "def")
                assert await received(peer) == ["e", "f"]
                assert await received(other) == ["f"]
                assert resumed.position == Position("e", 8)
                engine.push("e", 9, "g")
                assert await received(peer) == await received(other) == ["g"]
                assert (await missed(member), await missed(resumed)) == (0, 0)


async def test_a_worker_that_does_not_know_the_epoch_yet_asks_before_it_decides():
    async with scripted() as (rooms, engine), opened() as (one, peer), opened() as (two, other):
        with rooms.joined("r", one) as member:
            engine.answer("e", 5, "abc")
            engine.taken()
            with rooms.joined("r", two, after=Position("f", 6), replay=3) as resumed:
                assert engine.taken() == [("enter", "r", Position("e", 5))]
                engine.answer("f", 7, "de", ends={"e": 5})
                assert await received(peer) == ["d", "e"]
                assert await received(other) == ["e"]
                assert (await missed(member), await missed(resumed)) == (0, 0)
                assert rooms.statistics().gaps == 0


async def test_a_position_that_means_nothing_is_told_after_one_snapshot():
    async with scripted() as (rooms, engine), opened() as (one, peer), opened() as (two, other):
        with rooms.joined("r", one) as member:
            engine.answer("e", 5, "abc")
            engine.taken()
            with rooms.joined("r", two, after=Position("nothing", 7), replay=2) as resumed:
                assert engine.taken() == [("enter", "r", Position("e", 5))]
                engine.push("e", 6, "d")
                engine.answer("e", 6, "d")
                assert engine.taken() == [("announce", "r", None)] * 2
                assert await received(peer) == ["d"]
                assert await received(other) == ["c", "d"]
                assert (await missed(member), await missed(resumed)) == (0, 1)


async def test_a_snapshot_that_was_asked_for_earlier_does_not_decide():
    """The engine may have taken it before it numbered what the client has seen."""
    async with scripted() as (rooms, engine), opened() as (one, peer), opened() as (two, other):
        with rooms.joined("r", one, replay=1), rooms.joined("r", two, after=Position("e", 6)) as it:
            assert engine.taken() == [("enter", "r", None)]
            engine.answer("e", 5, "a")
            assert await received(peer) == ["a"]
            assert engine.taken() == [("announce", "r", None), ("enter", "r", Position("e", 5))]
            assert await received(other) == []
            engine.answer("e", 6, "b")
            assert await received(peer) == ["b"]
            assert await received(other) == []
            assert engine.taken()[-1] == ("announce", "r", None)
            assert await missed(it) == 0


async def test_clients_that_come_together_cost_one_snapshot():
    async with (
        scripted() as (rooms, engine),
        opened() as (one, _),
        opened() as (two, peer),
        opened() as (three, other),
        opened() as (four, third),
    ):
        with rooms.joined("r", one):
            engine.answer("e", 5)
            engine.taken()
            with (
                rooms.joined("r", two, after=Position("e", 6)) as second,
                rooms.joined("r", three, after=Position("e", 7)) as fourth,
                rooms.joined("r", four, after=Position("e", 9)) as late,
            ):
                assert engine.taken() == [("enter", "r", Position("e", 5))]
                engine.answer("e", 7, "ab")  # it was asked for by the first of them
                assert await received(peer) == ["b"]
                assert await received(other) == await received(third) == []
                assert engine.taken()[-1] == ("enter", "r", Position("e", 7))
                engine.answer("e", 9, "cd")
                assert await received(peer) == await received(other) == ["c", "d"]
                assert await received(third) == []
                assert [await missed(each) for each in (second, fourth, late)] == [0, 0, 0]
                assert "enter" not in [call[0] for call in engine.taken()]


async def test_a_hole_while_a_snapshot_is_on_its_way_asks_for_no_other():
    """What is delivered before the snapshot is in it."""
    async with scripted() as (rooms, engine), opened() as (one, peer), opened() as (two, other):
        with rooms.joined("r", one), rooms.joined("r", two, after=Position("e", 7)) as resumed:
            engine.answer("e", 5)
            engine.taken()
            engine.push("e", 7, "b")
            assert engine.taken() == []
            assert rooms.statistics().not_live == 1
            engine.answer("e", 8, "abc")
            assert await received(peer) == ["a", "b", "c"]
            assert await received(other) == ["c"]
            assert await missed(resumed) == 0


async def test_who_leaves_while_it_waits_is_never_present():
    async with scripted() as (rooms, engine), opened() as (one, peer), opened() as (two, other):
        with rooms.joined("r", one, metadata="Ann"):
            engine.answer("e", 5)
            engine.taken()
            with anyio.CancelScope() as scope:
                with rooms.joined("r", two, after=Position("e", 7), metadata="Bob"):
                    with pytest.raises(LocalProtocolError, match="already in the room 'r'"):
                        rooms.joined("r", two).__enter__()
                    scope.cancel()
                    await anyio.sleep_forever()
            assert engine.taken() == [("enter", "r", Position("e", 5))]
            engine.answer("e", 7, "ab")
            assert engine.taken() == [("announce", "r", "Ann")]
            assert await received(peer) == ["a", "b"]
            assert await received(other) == []
            # It left the room as it was: the same connection can come again.
            with rooms.joined("r", two, after=Position("e", 6)):
                assert await received(other) == ["b"]


async def test_the_last_one_leaves_while_it_waits():
    async with scripted() as (rooms, engine), opened() as (ws, peer):
        with rooms.presence("r"):
            engine.answer("e", 5)
            with rooms.joined("r", ws, after=Position("e", 7)):
                engine.taken()
        assert engine.taken() == [("leave", "r")]
        engine.answer("e", 7, "ab")
        assert await received(peer) == []
        assert rooms.statistics().rooms == 0


async def test_the_engine_goes_away_while_a_client_waits():
    async with scripted() as (rooms, engine), opened() as (one, peer), opened() as (two, other):
        with rooms.joined("r", one) as member:
            engine.answer("e", 5)
            engine.become("live")
            with rooms.joined("r", two, after=Position("e", 7)) as resumed:
                engine.become("away")
                await anyio.sleep(100)
                assert await received(other) == []
                assert str(resumed.position) == "None"
                engine.taken()
                engine.sink.connected()
                assert engine.taken() == [("enter", "r", Position("e", 5))]
                engine.answer("e", 8, "abc")
                assert [call[0] for call in engine.taken()] == ["announce", "announce"]
                assert await received(peer) == ["a", "b", "c"]
                assert await received(other) == ["c"]
                assert (await missed(member), await missed(resumed)) == (0, 0)


async def test_who_came_while_the_engine_was_away_needs_no_second_snapshot():
    async with scripted() as (rooms, engine), opened() as (one, _), opened() as (two, other):
        with rooms.joined("r", one):
            engine.answer("e", 5, "a")
            engine.become("live")
            engine.become("away")
            engine.taken()
            with rooms.joined("r", two, after=Position("e", 9), replay=1) as resumed:
                assert engine.taken() == []
                engine.sink.connected()
                engine.answer("f", 1, "b")
                assert [call[0] for call in engine.taken()] == ["enter", "announce", "announce"]
                assert await received(other) == ["b"]
                assert await missed(resumed) == 1


async def test_a_worker_in_memory_that_lags(monkeypatch):
    first = MemoryEngine()
    second = MemoryEngine(first)
    one, two = SharedRooms(first, history=10), SharedRooms(second, history=10)
    async with anyio.create_task_group() as group, opened() as (a, peer), opened() as (b, other):
        for rooms in (one, two):
            await group.start(rooms.run)
            await rooms.wait_live()
        with two.joined("r", a) as member:
            with monkeypatch.context() as patch:
                patch.setattr(second, "receive", lambda name, event: None)
                positions = [await one.publish_confirmed("r", text) for text in "abc"]
            with two.joined("r", b, after=positions[1], replay=3) as resumed:
                assert resumed.position == positions[2]
                one.publish("r", "d")
                assert await received(peer) == [*"abcd"]
                assert await received(other) == ["c", "d"]
                assert (await missed(member), await missed(resumed)) == (0, 0)
            # The engine in memory answers at once, also to a position that means nothing.
            with two.joined("r", b, after=Position("nothing", 1), replay=1) as stranger:
                assert await received(other) == ["d"]
                assert await missed(stranger) == 1
        group.cancel_scope.cancel()
