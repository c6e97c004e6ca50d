"""One server process per module and row; every test sees that it leaves nothing behind.

A module that is about more than the newest Hypercorn has a fixture `row` of its own.
"""

from collections.abc import Iterator

import pytest

from tests.servers._harness import SERVERS, Running, Server, running


@pytest.fixture(scope="module", params=["hypercorn-trio", "hypercorn-asyncio"])
def row(request: pytest.FixtureRequest) -> Server:
    """A row of the table of servers."""
    return SERVERS[request.param]


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
