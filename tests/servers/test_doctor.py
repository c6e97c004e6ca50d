"""The doctor's visit to real servers: what it finds, and how it leaves."""

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.servers._harness import ROOT


def doctor(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "wsnursery", "doctor", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def examine(server: str) -> dict[str, Any]:
    done = doctor("--json", server)
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if report["holds"] else 1)
    broken = {row["name"]: row["wsnursery"] for row in report["rows"] if row["verdict"] == "broken"}
    assert broken == {}
    return {row["name"]: row for row in report["rows"]}


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(module) is None, reason=f"{module} is not installed"
    )


SILENT = "returns as if nothing had happened"


def test_hypercorn_trio() -> None:
    rows = examine("hypercorn-trio")
    assert rows["close codes"]["server"] == "code 1006"
    assert rows["late send"]["server"] == SILENT
    assert rows["send loop"]["server"].endswith("no other task of the process runs meanwhile")
    assert "cannot be cancelled" in rows["blocked send"]["server"]
    assert rows["blocked send"]["verdict"] == "limited"
    assert rows["early frame"]["server"].endswith("the server's process ends")
    assert "close 1001" in rows["shutdown"]["wsnursery"]


def test_users_own_command() -> None:
    """A command instead of a name, with an option that makes the shutdown fast."""
    rows = examine(
        f"{sys.executable} -m hypercorn -k asyncio --graceful-timeout 1 {{app}} -b {{bind}}"
    )
    assert rows["late send"]["server"] == SILENT
    assert rows["full queue"]["server"].endswith("the disconnect event is lost")
    assert "cancelled after 1." in rows["shutdown"]["server"]


@needs("uvicorn")
def test_uvicorn() -> None:
    rows = examine("uvicorn")
    assert "ClientDisconnected" in rows["late send"]["server"]
    assert rows["close codes"]["server"] == (
        "close 4001: code 4001 with reason 'bye'; reset, FIN, half-close: code 1005"
    )
    assert "close 1012" in rows["shutdown"]["wsnursery"]


@needs("granian")
def test_granian() -> None:
    rows = examine("granian")
    assert rows["late send"]["server"] == SILENT
    assert not rows["cancelled receive"]["server"].startswith("0 of")
    assert rows["cancelled receive"]["wsnursery"] == "0 of 400 messages are lost"


@needs("daphne")
def test_daphne() -> None:
    rows = examine("daphne")
    assert rows["blocked send"]["server"].startswith("send never waits")
    assert rows["unread"]["verdict"] == "limited"


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (f"{sys.executable} -m hypercorn {{app}} -b {{bind}} --no-such-option", "with status 2"),
        ("no-such-server {app} -b {bind}", "cannot run 'no-such-server'"),
    ],
)
def test_a_server_that_does_not_start(command: str, complaint: str) -> None:
    done = doctor(command)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
