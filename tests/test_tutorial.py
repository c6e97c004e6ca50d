"""The tests of docs/tutorial.md run as its reader runs them."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests import _tutorial

PLUGINS = ("-p", "anyio", "-p", "wsnursery.testing._plugin")
"""What pytest finds by itself where wsnursery is installed, and no more than that."""


def test_the_tests_of_the_tutorial_pass(tmp_path: Path) -> None:
    (step,) = [step for step in _tutorial.steps() if "test_app.py" in step.files and step.others]
    step.write(tmp_path)
    command, *printed = step.others[0].splitlines()
    assert command == "python -m pytest -q"
    done = subprocess.run(
        [sys.executable, *command.split()[1:], "-p", "no:cacheprovider", *PLUGINS],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(_tutorial.PAGE.parents[1]),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    def without_time(lines: list[str]) -> list[str]:
        return [re.sub(r" in [\d.]+s", "", line) for line in lines]

    assert without_time(done.stdout.splitlines()) == without_time(printed), done.stderr
