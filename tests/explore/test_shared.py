"""Shared rooms, cancelled at every step and with every fault, on both backends.

``WSNURSERY_NIGHTLY=1`` adds a fault at every command to Redis, each with every cancellation, and
pairs.
"""

from functools import partial

import pytest

from tests._nightly import NIGHTLY
from tests.explore.shared import over_memory, over_redis
from tests.redis._peer import MemoryStream, OneRoom
from wsnursery import testing

FAULTS = [MemoryStream.end, MemoryStream.break_]

COMMANDS = 20
"""More than a conversation without a fault has."""


def faulty(fault, at, answered):
    return partial(over_redis, make=partial(OneRoom, fault, at, answered=answered))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("scenario", [over_memory, over_redis], ids=lambda one: one.__name__)
def test_every_step(scenario, backend, record_property):
    report = testing.explore(scenario, backends=[backend], pairs=NIGHTLY)
    record_property("runs", report.runs)
    assert report.runs > 100


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("answered", [False, True], ids=["lost", "answer lost"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.__name__)
def test_a_fault_at_every_command(fault, answered, backend):
    """Nothing is missed or repeated, whichever command Redis does not answer."""
    for at in range(1, COMMANDS):
        testing.explore(faulty(fault, at, answered), backends=[backend], limit=1)


@pytest.mark.skipif(not NIGHTLY, reason="nightly: WSNURSERY_NIGHTLY=1")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("answered", [False, True], ids=["lost", "answer lost"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("at", range(1, COMMANDS))
def test_a_fault_at_every_command_and_every_step(at, fault, answered, backend):
    testing.explore(faulty(fault, at, answered), backends=[backend], pairs=False)
