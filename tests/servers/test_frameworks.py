"""Our handler mounted in frameworks: the examples as they stand, on a real server."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import pytest

from tests.servers._clients import LEAVING, TEXT, RawClient, ServerGone
from tests.servers._harness import SERVERS, Running, running, wait_until
from tests.servers._reports import Record

TRIO, ASYNCIO = SERVERS["hypercorn-trio"], SERVERS["hypercorn-asyncio"]

MOUNTED = {
    "starlette_app": TRIO,
    "fastapi_app": TRIO,
    "litestar_app": TRIO,
    "quart_trio_app": TRIO,
    "quart_app": ASYNCIO,
    "falcon_app": ASYNCIO,
    "django_app": ASYNCIO,
    "channels_app": ASYNCIO,
}
"""On trio what can run there."""

PATH = "/feed/kiwi?token=secret"


@pytest.fixture(scope="module", params=MOUNTED)
def shared_server(request: pytest.FixtureRequest) -> Iterator[Running]:
    framework = request.param.removesuffix("_app")
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed: pip install -r requirements/servers.txt")
    app = f"tests.servers.mounted:{request.param}"
    with running(MOUNTED[request.param], app=app, arguments=["--graceful-timeout", "1"]) as started:
        with started.client() as client:  # the first connection loads what the later ones share
            client.open(PATH)
        started.wait_for("mounted", "ended")
        yield started
        with started.client() as client:  # this one is there when the server stops
            assert client.open(PATH) == 101
            started.terminate()
            assert client.read_close()[0] == 1001
            client.close(1001)


@pytest.fixture
def server(shared_server: Running) -> Iterator[Running]:
    """A running framework that must hold, after the test, no more than before."""
    before = shared_server.settled_stats()
    yield shared_server
    shared_server.assert_nothing_left(before)


@pytest.fixture
def client(server: Running) -> Iterator[RawClient]:
    with server.client() as connected:
        yield connected


def ended(server: Running) -> Record:
    """How the only connection that is open left the framework."""

    def all_ended() -> bool:
        return len(outcomes()) == len(server.records("mounted", "began"))

    def outcomes() -> list[Record]:
        return server.records("mounted", "ended")

    assert wait_until(all_ended, 5), server.log
    return outcomes()[-1]


def test_page_of_the_framework(server: Running) -> None:
    assert server.get("/").strip(b'"') == b"a page"


def test_echo_and_a_child_that_pushes(server: Running, client: RawClient) -> None:
    assert client.open(PATH) == 101
    assert client.read() == (TEXT, b"tick 1")
    client.send("hello", "")
    assert [client.read(), client.read()] == [
        (TEXT, b"you said 'hello'"),
        (TEXT, b"you said ''"),
    ]
    client.close(4001, "bye")
    assert client.read_close() == (4001, "bye")
    assert ended(server)["error"] is None


# contract: X8
@pytest.mark.parametrize("leave", LEAVING.values(), ids=list(LEAVING))
def test_client_that_leaves(
    server: Running, client: RawClient, leave: Callable[[RawClient], None]
) -> None:
    assert client.open(PATH) == 101
    assert client.read() == (TEXT, b"tick 1")
    leave(client)
    outcome = ended(server)
    assert (outcome["error"], outcome["cancelled"]) == (None, False)
    assert "Traceback" not in server.log


# contract: C6
def test_rejected_by_the_handler(server: Running, client: RawClient) -> None:
    assert client.open("/feed/kiwi") == 401
    assert ended(server)["error"] is None


# contract: T2
def test_denied_to_a_page_of_another_origin(server: Running, client: RawClient) -> None:
    assert client.open(PATH, "Origin: https://evil.example") == 403
    assert ended(server)["error"] is None


# contract: X5
def test_cancelled_from_outside(server: Running, client: RawClient) -> None:
    assert client.open(PATH) == 101
    assert client.read() == (TEXT, b"tick 1")
    server.get("/fault/cancel")
    assert client.read_close()[0] == 1001
    client.close(1001)
    outcome = ended(server)
    assert (outcome["error"], outcome["cancelled"]) == (None, True)


# contract: C1, X2
def test_failing_child(server: Running, client: RawClient) -> None:
    bug = "LookupError: a bug of the handler"
    assert client.open(PATH) == 101
    assert client.read() == (TEXT, b"tick 1")
    server.get("/fault/fail")
    assert client.read_close()[0] == 1011
    client.close(1011)
    with pytest.raises(ServerGone):
        client.read()
    ended(server)
    assert wait_until(lambda: bug in server.log, 5)
    assert server.log.count(bug) == 1
