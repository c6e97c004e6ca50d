"""Clients of other libraries, and our own, with our own server over trio-websocket."""

from collections.abc import Iterator

import pytest

from tests.servers._libraries import LIBRARIES, REASON, Library
from tests.servers._trio_server import TrioServer, trio_server


@pytest.fixture(scope="module")
def shared_server() -> Iterator[TrioServer]:
    with trio_server() as started:
        yield started


@pytest.fixture
def server(shared_server: TrioServer) -> Iterator[TrioServer]:
    """It must hold, after the test, no more than before."""
    before = shared_server.settled_stats()
    yield shared_server
    shared_server.assert_nothing_left(before)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Library:
    library = LIBRARIES[request.param]
    library.require()
    return library


# contract: S1, R1, C4
def test_client_that_talks_and_closes(server: TrioServer, library: Library) -> None:
    connection = server.new_id()
    compressed = library.talk(server.url("/echo", connection))
    assert not compressed  # it is turned down
    server.wait_for(connection, "child ended")
    end = server.wait_for(connection, "ended")
    assert (end["code"], end["reason"]) == (4001, REASON)


# contract: D6
def test_client_gets_the_reason(server: TrioServer, library: Library) -> None:
    connection = server.new_id()
    assert library.listen(server.url("/close", connection)) == (4002, REASON)
    server.wait_for(connection, "child ended")
    end = server.wait_for(connection, "ended")
    assert (end["code"], end["reason"]) == (4002, REASON)
