"""docs/servers.md is what docs/servers.json gives, which is about the versions that are tested."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers._rows import SERVERS

ROOT = Path(__file__).parents[1]
RESULTS = json.loads((ROOT / "docs" / "servers.json").read_text(encoding="utf-8"))


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.servers_page", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_every_server_of_the_tests_is_on_it() -> None:
    assert RESULTS["order"] == list(SERVERS)


@pytest.mark.parametrize("name", SERVERS)
def test_the_version_is_the_one_that_is_tested(name: str) -> None:
    try:
        tested = SERVERS[name].version
    except importlib.metadata.PackageNotFoundError as exc:
        pytest.skip(f"{exc.name} is not installed")
    assert RESULTS["servers"][name]["version"] == tested, (
        "measure again: python -m tools.servers_page measure"
    )


def test_the_contract_holds_on_all() -> None:
    broken = [
        (name, question)
        for name, server in RESULTS["servers"].items()
        for question, (_, _, verdict) in server["rows"].items()
        if verdict == "broken"
    ]
    assert broken == []
