"""What the buttons do to a connection, and what the client sees of it."""

import anyio
import pytest

from examples.demonstration._actions import ACTIONS, FLOOD, LOOK_UP_SECONDS, act
from examples.demonstration._handlers import CLEAN_UP_SECONDS, TICK_SECONDS
from examples.demonstration._subjects import Subject
from examples.demonstration.application import SEND_TIMEOUT
from tests.demonstration._peers import Stage, staged, until
from wsnursery import testing


def only(stage: Stage) -> Subject:
    """The only connection there is."""
    (subject,) = stage.app.subjects
    return subject


@pytest.mark.parametrize(
    ("action", "code", "after"),
    [
        # Broken: nothing more is sent, not even a close; the server ends it as it likes.
        ("reset", None, TICK_SECONDS + CLEAN_UP_SECONDS),
        ("stall", None, TICK_SECONDS + SEND_TIMEOUT + CLEAN_UP_SECONDS),
        ("fail", 1011, LOOK_UP_SECONDS + CLEAN_UP_SECONDS),
        ("cancel", 1001, CLEAN_UP_SECONDS),
    ],
)
async def test_an_end(action: str, code: int | None, after: float) -> None:
    async with staged() as stage, stage.connect("/test") as tested:
        await until(tested, "tick")
        subject, began = only(stage), anyio.current_time()
        assert act(action, subject) == ""
        await tested.until_finished()
        assert anyio.current_time() - began == pytest.approx(after, abs=0.05)
        assert subject.ws.close_code == code
        assert tested.exception is None


async def test_a_flood_is_asked_of_the_client() -> None:
    async with staged() as stage, stage.connect("/test") as tested:
        assert act("flood", only(stage)) == ""
        assert await until(tested, "flood") == FLOOD


async def test_a_client_that_reads_nothing_cannot_be_asked() -> None:
    async with staged() as stage, stage.connect("/test") as tested:
        await until(tested, "tick")
        subject = only(stage)
        act("stall", subject)
        await anyio.sleep(5)
        assert act("flood", subject).startswith("The send buffer of this connection is full")
        tested.vanish()


@pytest.mark.parametrize("action", ["flood", "fail"])
async def test_it_has_just_ended(action: str) -> None:
    async with staged() as stage, stage.connect("/test") as tested:
        subject = only(stage)
    with pytest.raises(testing.ConnectionEnded):
        await tested.receive()
    assert act(action, subject) == "This connection is just ending: choose another one."


def test_nothing_else_can_be_done() -> None:
    assert set(ACTIONS) == {"reset", "stall", "flood", "fail", "cancel"}
