"""The check for engines passes where it should, and names the violated guarantee elsewhere."""

import anyio
import pytest

from wsnursery.rooms import MemoryEngine
from wsnursery.testing import check_engine


def memory():
    """Engines that share their data."""
    first = MemoryEngine()
    return lambda: MemoryEngine(first)


async def test_check_engine():
    await check_engine(memory(), interrupt=anyio.lowlevel.checkpoint)


async def test_check_engine_finds_what_is_broken():
    """Engines that do not share their data."""
    with pytest.RaisesGroup(*[TimeoutError] * 6) as caught:
        await check_engine(MemoryEngine)
    notes = [exc.__notes__[0] for exc in caught.value.exceptions]
    assert all(note.startswith("the engine breaks the rule: ") for note in notes)
    assert any("one order" in note for note in notes)
