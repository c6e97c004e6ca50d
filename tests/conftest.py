"""What all tests share: both backends, on virtual time."""

import gc
import os
import signal
import sys
from typing import Any

import hypothesis  # noqa: F401 - it looks for trio's references to its randomness: not when frozen
import pytest

from wsnursery.testing import virtual_backend


def pytest_sessionstart() -> None:
    """A shell that runs the tests in the background has them, and all they start, ignore Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Two processes for each processor: more than half of a test of a real server is waiting.

    Not more than 8: each collects all the tests.
    """
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(2 * (mine or 1), 8)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """What shares a server runs in one process."""
    from tests._scheduling import Scheduling  # pytest-xdist may be missing

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Processes that share the tests, and two runs of one test, have to know it by one name."""
    for item in items:
        if " at 0x" in item.name:
            raise pytest.UsageError(
                f"a test must have the same name in every process, got {item.nodeid}: "
                "give the parameter an id"
            )


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Nothing waits for the real clock, and a test that cannot go on fails at once."""
    return virtual_backend(request.param)


@pytest.fixture(autouse=True)
def without_hypercorn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test in memory depend on whether another one has imported Hypercorn.

    A server that announces what Hypercorn announces is drained where Hypercorn may be the server.
    """
    folder = request.node.path.relative_to(request.config.rootpath / "tests").parts[0]
    if folder not in {"servers", "hypercorn", "demonstration", "doctor"}:
        monkeypatch.delitem(sys.modules, "hypercorn", raising=False)


def pytest_collection_finish() -> None:
    """All that exists now stays: the garbage collector need not look through it in every test."""
    gc.collect()
    gc.freeze()
