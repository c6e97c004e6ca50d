"""docs/servers.md is what docs/servers.json gives, which is about the versions that are tested."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers._rows import SERVERS, Server

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


def pinned(server: Server) -> str:
    """The version that requirements/servers.txt names for the tests."""
    if server.older is not None:
        return server.version
    requirements = (ROOT / "requirements" / "servers.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([\w-]+)(?:\[.*\])?==(.*)$", requirements, re.MULTILINE)
    version: str = dict(pins)[server.distribution]
    return version


@pytest.mark.parametrize("server", SERVERS.values(), ids=list(SERVERS))
def test_the_version_is_the_one_that_is_tested(server: Server) -> None:
    measured = RESULTS["servers"][server.name]["version"]
    assert measured == pinned(server), "measure again: python -m tools.servers_page measure"
    try:
        installed = server.version
    except importlib.metadata.PackageNotFoundError as exc:
        pytest.skip(f"{exc.name} is not installed")
    if installed != measured:
        pytest.skip(f"measured with {server.distribution} {measured}, {installed} is installed")


def test_the_contract_holds_on_all() -> None:
    broken = [
        (name, question)
        for name, server in RESULTS["servers"].items()
        for question, (_, _, verdict) in server["rows"].items()
        if verdict == "broken"
    ]
    assert broken == []
