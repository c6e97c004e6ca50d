"""Every scenario at every point of failure, on both backends.

At the first bound by default. ``WSNURSERY_NIGHTLY=1`` adds the pairs of a fault and a cancellation
in every scenario of one connection, the other personalities, and one deviation in the order of
tasks or the delays of the server, up to ``WSNURSERY_EXPLORE_LIMIT`` runs of each (100 000 by
default).
"""

import functools
import os

import pytest

from tests._nightly import NIGHTLY
from tests.explore.scenarios import SCENARIOS, both_close, broadcast, echo, proxy
from wsnursery import testing

LIMIT = int(os.environ.get("WSNURSERY_EXPLORE_LIMIT", "100000"))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_first_bound(scenario, backend, record_property):
    pairs = scenario in (echo, both_close) or (NIGHTLY and scenario not in (broadcast, proxy))
    report = testing.explore(scenario, backends=[backend], faults=testing.ALL_FAULTS, pairs=pairs)
    record_property("runs", report.runs)
    assert report.runs > (400 if pairs else 100)


@pytest.mark.skipif(not NIGHTLY, reason="nightly: WSNURSERY_NIGHTLY=1")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("personality", testing.SERVERS, ids=lambda rules: rules.name)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_every_personality(scenario, personality, backend):
    explored = functools.partial(scenario, personality=personality)
    testing.explore(explored, backends=[backend], faults=testing.ALL_FAULTS)


@pytest.mark.skipif(not NIGHTLY, reason="nightly: WSNURSERY_NIGHTLY=1")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_second_bound(scenario, backend):
    testing.explore(scenario, backends=[backend], faults=testing.ALL_FAULTS, bound=1, limit=LIMIT)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_runs_every_time(backend):
    first, second = (
        testing.explore(SCENARIOS[0], backends=[backend], limit=300, bound=1) for _ in range(2)
    )
    assert first == second
