"""What all tests share: both backends, on virtual time."""

import gc
import signal
from typing import Any

import hypothesis  # noqa: F401 - it looks for trio's references to its randomness: not when frozen
import pytest

from wsnursery.testing import virtual_backend


def pytest_sessionstart() -> None:
    """A shell that runs the tests in the background has them, and all they start, ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Nothing waits for the real clock, and a test that cannot go on fails at once."""
    return virtual_backend(request.param)


def pytest_collection_finish() -> None:
    """All that exists now stays: the garbage collector need not look through it in every test."""
    gc.collect()
    gc.freeze()
