"""Where the library's log lines go when it runs the server process."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from wsnursery.hypercorn import Config
from wsnursery.hypercorn._logs import log_start, logger, show_log


@contextmanager
def nothing_set_up() -> Iterator[None]:
    """No handlers, not even those of pytest, which it installs for each test."""
    own, root = logging.getLogger("wsnursery"), logging.getLogger()
    level, before = own.level, (own.handlers, root.handlers)
    own.handlers, root.handlers = [], []
    own.setLevel(logging.NOTSET)
    try:
        yield
    finally:
        hypercorns = logging.getLogger("hypercorn.error")
        for handler in hypercorns.handlers:
            handler.close()
        hypercorns.handlers = []
        own.handlers, root.handlers = before
        own.setLevel(level)


def written(path: Path, level: str = "INFO") -> str:
    """How a line appears in the log of Hypercorn."""
    show_log(Config.from_mapping(errorlog=str(path), loglevel=level))
    logger.info("a line")
    return path.read_text()


def test_they_go_where_hypercorn_writes_in_its_form(tmp_path: Path) -> None:
    with nothing_set_up():
        assert written(tmp_path / "log").endswith("] [INFO] a line\n")


def test_the_level_is_hypercorns(tmp_path: Path) -> None:
    with nothing_set_up():
        assert written(tmp_path / "log", "WARNING") == ""


def test_the_level_of_the_application_counts(tmp_path: Path) -> None:
    with nothing_set_up():
        logging.getLogger("wsnursery").setLevel(logging.ERROR)
        assert written(tmp_path / "log") == ""


@pytest.mark.parametrize("name", ["wsnursery", None])
def test_an_application_that_has_set_up_logging_is_left_alone(
    tmp_path: Path, name: str | None
) -> None:
    with nothing_set_up():
        logging.getLogger(name).addHandler(logging.StreamHandler())
        assert written(tmp_path / "log") == ""


def test_without_a_log_of_hypercorn_there_is_none() -> None:
    with nothing_set_up():
        show_log(Config.from_mapping(errorlog=None))
        assert logging.getLogger("wsnursery").handlers == []


async def test_the_start_is_logged_with_the_limits(
    anyio_backend_name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config.from_mapping(workers=3)
    with caplog.at_level(logging.INFO, "wsnursery.hypercorn"):
        log_start(config, ["http://127.0.0.1:8000"])
        monkeypatch.setitem(sys.modules, "resource", None)
        log_start(config, ["http://127.0.0.1:8000"])
    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith("started on http://127.0.0.1:8000: wsnursery ")
    assert f"{anyio_backend_name} worker, 3 process(es), messages up to 2097152 bytes" in first
    assert second.endswith("unlimited descriptors")
