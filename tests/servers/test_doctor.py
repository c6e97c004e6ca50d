"""The doctor's visit to real servers: what it finds, and how it leaves."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.servers._harness import ROOT

HYPERCORN = f"{sys.executable} -m hypercorn -k asyncio --graceful-timeout 1 {{app}} -b {{bind}}"
"""A command instead of a name, with an option that makes the shutdown fast."""

VISITS = ["hypercorn-trio", HYPERCORN, "uvicorn", "granian", "daphne"]

Visits = dict[str, "subprocess.Popen[str]"]


def doctor(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "wsnursery", "doctor", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def visits() -> Iterator[Visits]:
    """All at the same time: a visit is mostly waiting."""
    with ExitStack() as stack:
        started: Visits = {}
        for server in VISITS:
            started[server] = stack.enter_context(doctor("--json", server))
            stack.callback(started[server].kill)
        yield started


def found(visits: Visits, server: str) -> dict[str, Any]:
    visit = visits[server]
    out, err = visit.communicate(timeout=90)
    assert err == ""
    report: dict[str, Any] = json.loads(out)
    broken = {row["name"]: row["wsnursery"] for row in report["rows"] if row["verdict"] == "broken"}
    assert broken == {}
    assert visit.returncode == 0
    return {row["name"]: row for row in report["rows"]}


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(module) is None, reason=f"{module} is not installed"
    )


SILENT = "returns without an error"


def test_hypercorn_trio(visits: Visits) -> None:
    rows = found(visits, "hypercorn-trio")
    assert rows["close codes"]["server"] == "code 1006"
    assert rows["late send"]["server"] == SILENT
    assert rows["send loop"]["server"].endswith("no other task of the process runs meanwhile")
    assert "cannot be cancelled" in rows["blocked send"]["server"]
    assert rows["blocked send"]["wsnursery"].endswith("the block is left")
    assert rows["early frame"]["server"].endswith("the server's process ends")
    assert "close 1001" in rows["shutdown"]["wsnursery"]


def test_users_own_command(visits: Visits) -> None:
    rows = found(visits, HYPERCORN)
    assert rows["late send"]["server"] == SILENT
    assert rows["full queue"]["server"].endswith("the disconnect event is lost")
    assert "cancelled after 1 s" in rows["shutdown"]["server"]


@needs("uvicorn")
def test_uvicorn(visits: Visits) -> None:
    rows = found(visits, "uvicorn")
    assert "ClientDisconnected" in rows["late send"]["server"]
    assert rows["close codes"]["server"] == (
        "close 4001: code 4001 with reason 'bye'; reset, FIN, half-close: code 1005"
    )
    assert "close 1012" in rows["shutdown"]["wsnursery"]


@needs("granian")
def test_granian(visits: Visits) -> None:
    rows = found(visits, "granian")
    assert rows["late send"]["server"] == SILENT
    assert not rows["cancelled receive"]["server"].startswith("0 of")
    assert rows["cancelled receive"]["wsnursery"] == "0 of 400 messages are lost"


@needs("daphne")
def test_daphne(visits: Visits) -> None:
    rows = found(visits, "daphne")
    assert rows["blocked send"]["server"].startswith("send never waits")
    assert rows["unread"]["verdict"] == rows["own close"]["verdict"] == "limited"


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (f"{sys.executable} -m hypercorn {{app}} -b {{bind}} --no-such-option", "with status 2"),
        ("no-such-server {app} -b {bind}", "cannot run 'no-such-server'"),
    ],
)
def test_a_server_that_does_not_start(command: str, complaint: str) -> None:
    with doctor(command) as visit:
        out, err = visit.communicate(timeout=30)
    assert (visit.returncode, out) == (2, "")
    assert complaint in err
    assert len(err.splitlines()) == 1
