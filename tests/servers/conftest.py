"""One server process per module and row; every test sees that it leaves nothing behind.

A module that is about more than the newest Hypercorn has a fixture `row` of its own.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.servers._browser import NAMES, Browser, browser, find_browser, served_page
from tests.servers._clients import ServerGone
from tests.servers._harness import SERVERS, Running, Server, running
from tests.servers._results import ENVIRONMENT_VARIABLE, Results, limit_on
from tests.servers._rows import OUR_SERVERS
from tests.servers._serving import Start, starter

RESULTS = pytest.StashKey[Results]()
IMPOSSIBLE = (AssertionError, KeyError, TimeoutError, ServerGone)
"""How a test of a rule fails on a server that makes the rule impossible."""


@pytest.fixture(scope="module", params=["hypercorn-trio", "hypercorn-asyncio"])
def row(request: pytest.FixtureRequest) -> Server:
    """A row of the table of servers."""
    return SERVERS[request.param]


@pytest.fixture(params=OUR_SERVERS.values(), ids=list(OUR_SERVERS))
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """Start Hypercorn as `wsnursery.hypercorn` runs it, on either backend, with settings."""
    return starter(request.param, tmp_path)


@pytest.fixture(scope="module")
def shared_server(row: Server) -> Iterator[Running]:
    with running(row) as started:
        with started.client() as client:  # the first connection loads what the later ones share
            connection = started.new_id()
            client.open(f"/ours/echo?id={connection}")
        started.wait_for(connection, "ended")
        yield started


@pytest.fixture
def server(shared_server: Running) -> Iterator[Running]:
    """A running server that must hold, after the test, no more than before."""
    before = shared_server.settled_stats()
    yield shared_server
    shared_server.assert_nothing_left(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect what the table of limits says."""
    for item in items:
        limit = limit_on(item)
        if limit is not None:
            reason = f"{limit.rule}: {limit.reason} ({limit.upstream})"
            item.add_marker(pytest.mark.xfail(reason=reason, raises=IMPOSSIBLE, strict=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Collect the results for docs/servers.md."""
    report = yield
    item.config.stash.setdefault(RESULTS, Results()).add(item, report)
    return report


def pytest_configure(config: pytest.Config) -> None:
    """The results are those of one process."""
    if ENVIRONMENT_VARIABLE in os.environ and hasattr(config, "workerinput"):
        raise pytest.UsageError(f"{ENVIRONMENT_VARIABLE} needs one process: leave out -n")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write them, if that is wanted."""
    path = os.environ.get(ENVIRONMENT_VARIABLE)
    if path is not None and RESULTS in session.config.stash:
        session.config.stash[RESULTS].write(Path(path))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        pytest.skip(f"no Chromium here: install one of {', '.join(NAMES)}")
    with browser(path) as started:
        yield started


@pytest.fixture(scope="session")
def page() -> Iterator[str]:
    """The address of a page with a client."""
    with served_page() as url:
        yield url
