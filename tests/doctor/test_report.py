"""What is printed."""

import json
from dataclasses import replace

from tests.doctor._found import perfect
from wsnursery._doctor._answers import Verdict
from wsnursery._doctor._commands import parse
from wsnursery._doctor._questions import rows
from wsnursery._doctor._report import as_json, as_text, holds, summary

COMMAND = parse("hypercorn-trio")


def test_text() -> None:
    findings = perfect()
    text = as_text(COMMAND, findings, rows(findings), 80)
    first, *lines, last = text.splitlines()
    assert first == (
        "perfect 1.0, anyio 4.16.0 on trio, Python 3.11.7: hypercorn -k trio {app} -b {bind}"
    )
    assert last == "The contract holds here."
    assert max(map(len, lines)) <= 80
    assert "late send          What does a send to a client that is gone do?" in lines
    assert "  server           raises BrokenPipeError" in lines
    assert "  wsnursery        no task and no descriptor [holds]" in lines
    assert "-]" not in text


def test_a_narrow_terminal_gets_60_columns() -> None:
    findings = perfect()
    lines = as_text(COMMAND, findings, rows(findings), 10).splitlines()[1:]
    assert 50 < max(map(len, lines)) <= 60


def test_summary() -> None:
    found = rows(perfect())
    assert holds(found)
    limited = [replace(found[0], verdict=Verdict.LIMITED), *found[1:]]
    assert summary(limited) == "The contract holds here; the server limits it in: announces."
    assert holds(limited)
    broken = [*limited[:-1], replace(found[-1], verdict=Verdict.BROKEN)]
    assert summary(broken) == "The contract does NOT hold here: see nothing left."
    assert not holds(broken)


def test_json() -> None:
    findings = perfect()
    report = json.loads(as_json(COMMAND, findings, rows(findings)))
    assert report["command"] == "hypercorn -k trio {app} -b {bind}"
    assert (report["server"], report["holds"]) == ({"perfect": "1.0"}, True)
    assert report["rows"][2]["verdict"] == "holds"
    assert report["facts"]["raw/leave/reset"]["code"] == 4001
