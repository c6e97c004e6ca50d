"""What the contract tests share."""

import pytest

from tests.contract import _bench


@pytest.fixture(params=[False, True], ids=["through_tasks", "in_place"])
def over_both_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test of `block` twice: the outcome must be the same."""
    monkeypatch.setattr(_bench, "in_place", request.param)
