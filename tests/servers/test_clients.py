"""Clients of other libraries, and our own, with ours on a real server."""

from typing import Any

import pytest

from tests.servers._harness import SERVERS, Running, Server
from tests.servers._libraries import COMPRESSING, LIBRARIES, REASON, Library


@pytest.fixture(scope="module")
def row() -> Server:
    return SERVERS["hypercorn-trio"]


@pytest.fixture(params=LIBRARIES)
def name(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def library(name: str) -> Library:
    library = LIBRARIES[name]
    library.require()
    return library


# contract: S1, R1
def test_client_that_talks_and_closes(server: Running, library: Library, name: str) -> None:
    connection = server.new_id()
    compressed = library.talk(server.url("/ours/chat", connection))
    assert compressed == (name in COMPRESSING)
    assert server.wait_for(connection, "ended")["error"] is None
    assert len(server.records(connection, "cleaned")) == 2


# contract: C1
def test_client_gets_the_reason(server: Running, library: Library) -> None:
    connection = server.new_id()
    assert library.listen(server.url("/ours/dismiss", connection)) == (4002, REASON)
    assert server.wait_for(connection, "ended")["error"] is None
