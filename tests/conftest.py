"""What all tests share: both backends, on virtual time."""

from collections.abc import Generator
from typing import Any

import coverage
import pytest

from wsnursery.testing import virtual_backend


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Nothing waits for the real clock, and a test that cannot go on fails at once."""
    return virtual_backend(request.param)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Record under `coverage run` which test file ran a line: see tools/module_coverage.py."""
    current = coverage.Coverage.current()
    if current is not None:
        current.switch_context(item.location[0])
    return (yield)
