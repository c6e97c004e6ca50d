"""The handlers that are shown: what their clients get."""

import anyio
import pytest

from examples.demonstration import _handlers
from examples.demonstration._handlers import CLEAN_UP_SECONDS, TICK_SECONDS, WORK_SECONDS
from tests.demonstration._peers import staged, until, until_true
from tests.rooms._members import stalled
from wsnursery import Options


@pytest.mark.parametrize(
    ("query", "name"),
    [(b"name=Ann", "Ann"), (b"name=+A%C3%BC+", "Aü"), (b"", "somebody"), (b"name=%20", "somebody")],
)
def test_names(query: bytes, name: str) -> None:
    assert _handlers.name_of({"query_string": query}) == name
    assert len(_handlers.name_of({"query_string": b"name=" + 99 * b"x"})) == 30


async def test_two_talk_and_see_each_other() -> None:
    async with staged() as stage, stage.connect("/chat", b"name=Ann") as ann:
        assert await until(ann, "people") == ["Ann"]
        async with stage.connect("/chat", b"name=Bob") as bob:
            assert await until(ann, "joined") == "Bob"
            assert await until(bob, "people") == ["Ann", "Bob"]
            await ann.send("Hello <b>Bob</b>")
            for peer in (ann, bob):
                assert await until(peer, "said") == {"name": "Ann", "text": "Hello <b>Bob</b>"}
        assert await until(ann, "left") == "Bob"


async def test_a_worker_that_was_away_gets_the_missed_messages() -> None:
    async with staged() as stage, stage.connect("/chat", b"name=Ann") as ann:
        for text in ("one", "two", "three"):
            await ann.send(text)
        first = await until(ann, "at")
        await until_true(ann, "said", lambda said: said["text"] == "three")
        async with stage.connect("/chat", f"name=Bob&after={first}".encode()) as bob:
            assert (await until(bob, "said"))["text"] == "two"
            assert (await until(bob, "said"))["text"] == "three"
        async with stage.connect("/chat", "name=Cy&after=²".encode()) as cy:
            assert (await until(cy, "said"))["text"] == "one"
        async with stage.connect("/chat", b"name=Di&after=x.1") as di:  # another server's
            assert await until(di, "missed") >= 1


async def test_ticks_come_and_work_takes_time() -> None:
    async with staged() as stage, stage.connect("/chat", b"name=Ann") as ann:
        began = anyio.current_time()
        await until_true(ann, "tick", lambda tick: tick == 5)
        assert anyio.current_time() - began == pytest.approx(4 * TICK_SECONDS)
        began = anyio.current_time()
        for _ in range(50):
            await ann.send(b"work")
        await ann.send("done")
        await until(ann, "said")
        assert anyio.current_time() - began == pytest.approx(50 * WORK_SECONDS, abs=0.01)


async def test_a_test_connection_is_not_in_the_chat() -> None:
    async with (
        staged() as stage,
        stage.connect("/chat", b"name=Ann") as ann,
        stage.connect("/test", b"name=Pip") as tested,
    ):
        began = anyio.current_time()
        for _ in range(20):
            await tested.send(b"work")
        await tested.send("and this")
        assert await until(ann, "people") == ["Ann"]
        await until_true(tested, "tick", lambda tick: tick == 3)
        assert anyio.current_time() - began == pytest.approx(2 * TICK_SECONDS)


async def test_a_tick_that_finds_no_room_is_left_out() -> None:
    async with stalled(Options(send_buffer=3)) as (ws, _, _go_on):
        ws.start_soon(_handlers.tick, ws)
        await anyio.sleep(10 * TICK_SECONDS)
        assert ws.statistics().send_buffer_used == 3
        began = anyio.current_time()
        ws.cancel_scope.cancel()
    assert anyio.current_time() - began == pytest.approx(CLEAN_UP_SECONDS, abs=0.05)
