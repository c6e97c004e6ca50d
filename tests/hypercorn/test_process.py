"""A server process: the checks before the start, the import of the application, the exit status."""

import asyncio
import gc
import logging
import signal
import ssl
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypercorn.config import Sockets
from hypercorn.utils import LifespanFailureError

from wsnursery import websocket_app
from wsnursery.hypercorn import Config, DeploymentError
from wsnursery.hypercorn._config import bind
from wsnursery.hypercorn._process import check, complain, serve_process, status_of

app = websocket_app(lambda ws: ws.accept())


@pytest.fixture
def anyio_backend() -> str:
    """These tests start their own event loop."""
    return "asyncio"


@pytest.mark.parametrize("worker", ["trio", "asyncio"])
def test_nothing_is_wrong(worker: str) -> None:
    check(app, Config.from_mapping(worker_class=worker))
    check("module:app", Config.from_mapping(worker_class=worker, workers=2))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"worker_class": "gevent"},
            "worker_class must be one of asyncio, trio, uvloop, got 'gevent'",
        ),
        ({"workers": 2}, "the application must be 'module:name' with several workers"),
        ({"drain_code": 1005}, "cannot drain so"),
        ({"certfile": "/nowhere.pem", "keyfile": "/nowhere.pem"}, "cannot read /nowhere.pem"),
    ],
    ids=str,
)
def test_the_error_names_what_is_wrong(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(DeploymentError, match=problem):
        check(app, Config.from_mapping(settings))


@pytest.mark.parametrize("worker", ["trio", "uvloop"])
def test_a_library_that_is_missing(worker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsnursery.hypercorn._process.find_spec", lambda _name: None)
    with pytest.raises(DeploymentError, match=f"the {worker} worker needs {worker}: pip install"):
        check(app, Config.from_mapping(worker_class=worker))


def sockets() -> Sockets:
    return bind(Config.from_mapping(bind="127.0.0.1:0"))


async def now() -> None:
    """A trigger."""


@pytest.mark.parametrize("worker", ["trio", "asyncio"])
@pytest.mark.parametrize("given", [app, "tests.hypercorn.test_process:app"], ids=["app", "name"])
def test_it_serves(worker: str, given: Any) -> None:
    config = Config.from_mapping(worker_class=worker, loglevel="ERROR")
    serve_process(given, config, sockets(), now)


@pytest.mark.parametrize(
    ("error", "is_logged"),
    [
        (ssl.SSLError(), False),
        (asyncio.CancelledError(), False),
        (LifespanFailureError("startup", "no db"), False),
        (LookupError(), True),
    ],
    ids=repr,
)
def test_what_asyncio_reports(
    error: BaseException, is_logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def trigger() -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "a callback failed", "exception": error})

    with caplog.at_level(logging.ERROR, "asyncio"):
        serve_process(app, Config.from_mapping(loglevel="ERROR"), sockets(), trigger)
    assert ("a callback failed" in caplog.text) is is_logged


def test_a_startup_that_fails_as_the_server_is_stopped_is_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Hypercorn's asyncio worker does not look at its lifespan again then; trio's cancels it."""

    async def fails(_scope: Any, receive: Any, _send: Any) -> None:
        await receive()
        signal.raise_signal(signal.SIGTERM)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        raise LookupError("no database")

    config = Config.from_mapping(worker_class="asyncio", loglevel="ERROR")
    with pytest.raises(LookupError, match="no database"):
        serve_process(fails, config, sockets())
    gc.collect()
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (DeploymentError("the port is taken"), 1, ["the port is taken\n"]),
        (LifespanFailureError("startup", "no db"), 1, ["Lifespan failure in startup. 'no db'\n"]),
        (KeyboardInterrupt(), 0, []),
    ],
    ids=repr,
)
def test_status_of_a_failure(error: BaseException, status: int, said: list[str]) -> None:
    sentences: list[str] = []

    def work() -> int:
        raise error

    assert status_of(work, sentences.append) == status
    assert sentences == said


def test_status_of_a_success() -> None:
    assert status_of(lambda: 7, complain) == 7


def test_a_bug_is_no_sentence() -> None:
    with pytest.raises(ZeroDivisionError):
        status_of(lambda: 1 // 0, complain)


def test_complaints_go_to_the_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    complain("the port is taken\n")
    assert capsys.readouterr() == ("", "the port is taken\n")


def test_missing_descriptors_are_logged_rarely(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    monkeypatch.setattr("wsnursery.hypercorn._listening.time.monotonic", lambda: now[0])
    trios = logging.getLogger("trio.serve_listeners")
    error = OSError(24, "Too many open files")

    async def trigger() -> None:
        loop = asyncio.get_running_loop()
        for seconds in (0, 1, 9.5):
            now[0] += seconds
            text = "socket.accept() out of system resource"
            loop.call_exception_handler({"message": text, "exception": error})
            try:
                raise error
            except OSError:
                trios.error("accept returned %s", "EMFILE", exc_info=True)
        trios.error("something else")
        trios.error("accept returned %s", "EMFILE")

    with caplog.at_level(logging.ERROR):
        serve_process(app, Config.from_mapping(loglevel="ERROR"), sockets(), trigger)
    said = [record.getMessage() for record in caplog.records]
    assert [text[:42] for text in said] == [
        "cannot accept connections: [Errno 24] Too ",
        "cannot accept connections: [Errno 24] Too ",
        "something else",
    ]
