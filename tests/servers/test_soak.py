"""The short form of tools/soak.py: load, disconnects of every kind and a rolling restart."""

import subprocess
import sys

import pytest

from tests.servers._rows import ROOT


@pytest.mark.parametrize("worker", ["trio", "asyncio"])
def test_nothing_is_lost_and_nothing_is_left(worker: str) -> None:
    done = subprocess.run(
        [sys.executable, "tools/soak.py", "--short", "--worker", worker],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "closed by the server: 1012" in done.stdout
    assert "[#" in done.stderr  # the progress bar
