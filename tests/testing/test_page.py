"""The tests on the documentation's page about testing pass."""

import inspect
import sys
from unittest import mock

import pytest

from tests.test_docs_code import ROOT, run
from wsnursery import testing, timeline

with mock.patch.dict(sys.modules):
    # What is explored must not depend on whether another test has imported Hypercorn.
    sys.modules.pop("hypercorn", None)
    PAGE = run(ROOT / "docs" / "testing.md")
TESTS = [value for name, value in PAGE.items() if name.startswith("test_")]


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.__name__)
async def test_on_the_page(test):
    parameters = inspect.signature(test).parameters
    if "ws_recorder" in parameters:
        await test(ws_recorder=timeline.Recorder())
    elif "personality" in parameters:
        for personality in testing.SERVERS:
            await test(personality=personality)
    else:
        await test()


def test_the_failure_on_the_page_is_the_one_that_is_shown():
    failure = PAGE["failure"]
    shown = (ROOT / "docs" / "testing.md").read_text()
    assert f"run {failure.run} failed: AssertionError" in shown
    assert f"replay={failure.seed!r}" in shown
    assert failure.transcript in shown
