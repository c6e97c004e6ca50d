"""Exploration finds bugs: ten of them, planted one by one into a copy of the engine."""

import pytest

from tests.explore.planted import BUGS, find


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_found(bug, backend, record_property):
    found = find(bug, backend)
    record_property("found", found)
    assert found.startswith("run ")
