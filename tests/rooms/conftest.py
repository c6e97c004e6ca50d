"""What the tests of rooms share."""

import pytest

from tests.rooms import _members


@pytest.fixture(params=[False, True], ids=["through_tasks", "in_place"])
def over_both_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test of `opened` twice: the outcome must be the same."""
    monkeypatch.setattr(_members, "in_place", request.param)
