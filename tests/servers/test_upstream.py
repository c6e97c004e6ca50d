"""The reproductions for upstream still reproduce: when one does not, docs/upstream.md changes."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.servers._harness import ROOT

DIRECTORY = ROOT / "tools" / "upstream"
REPRODUCTIONS = sorted(path.stem for path in DIRECTORY.glob("[a-z]*.py"))

Result = Future["subprocess.CompletedProcess[str]"]


def reproduce(name: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(DIRECTORY / f"{name}.py"), "--first"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, Result]]:
    """Four at a time: they mostly wait."""
    with ThreadPoolExecutor(4) as pool:
        yield {name: pool.submit(reproduce, name) for name in REPRODUCTIONS}


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_it_is_still_there(name: str, results: dict[str, Result]) -> None:
    done = results[name].result()
    if "not installed" in done.stdout:
        pytest.skip(done.stdout.strip())
    assert "still there: " in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_the_page_has_them_all() -> None:
    page = (ROOT / "docs" / "upstream.md").read_text(encoding="utf-8")
    assert [name for name in REPRODUCTIONS if f"`{name}.py`" not in page] == []
