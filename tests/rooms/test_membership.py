"""The blocks of ``joined``: nothing happens before they are entered, and a warning says so."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults import _opened
from tests.rooms._members import opened
from wsnursery import LocalProtocolError, Room, Rooms, testing
from wsnursery.rooms import MemoryEngine, SharedRooms

JOINED: dict[str, Callable[..., Any]] = {
    "Room": lambda ws, **options: Room("r").joined(ws, **options),
    "Rooms": lambda ws, **options: Rooms().joined("r", ws, **options),
    "SharedRooms": lambda ws, **options: SharedRooms(MemoryEngine()).joined("r", ws, **options),
}


@pytest.mark.parametrize("kind", JOINED)
async def test_one_that_is_not_entered_says_so(kind: str):
    async with opened() as (ws, _):
        with pytest.warns(RuntimeWarning, match=r"write `with room.joined\(ws\):`") as warned:
            JOINED[kind](ws)
        assert warned[0].filename == __file__


async def test_one_that_was_refused_says_nothing_more():
    async with _opened.opened(testing.Server()) as ws:
        with pytest.raises(LocalProtocolError, match="accept"), Room("r").joined(ws):
            pytest.fail("it is refused")


@pytest.mark.parametrize("kind", JOINED)
async def test_a_replay_needs_a_history(kind: str):
    async with opened() as (ws, _):
        with (
            pytest.raises(ValueError, match=r"make the room with history=\.\.\., as in Room\("),
            JOINED[kind](ws, replay=10),
        ):
            pytest.fail("it is refused")
