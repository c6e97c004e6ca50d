"""The rows: every question is answered from what the probes found."""

import pytest

from tests.doctor._found import perfect
from wsnursery._doctor._answers import Verdict
from wsnursery._doctor._questions import QUESTIONS, Question, rows


def test_a_row_for_each_question() -> None:
    found = rows(perfect())
    assert [row.name for row in found] == [
        *(question.name for question in QUESTIONS),
        "nothing left",
    ]
    assert {row.verdict for row in found} == {Verdict.HOLDS, Verdict.NONE}
    assert all(row.asks.endswith("?") and row.does for row in found)
    assert all(row.server for row in found[:-1])


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_a_probe_that_does_not_end(question: Question) -> None:
    findings = perfect()
    for script in (*question.raw_scripts, *question.our_scripts):
        findings.facts[script] = {"over": False}
    row = next(row for row in rows(findings) if row.name == question.name)
    assert row.server == "the server did not let the probe end"
    if question.ours is None:
        assert (row.wsnursery, row.verdict) == ("", Verdict.NONE)
    else:
        assert (row.wsnursery, row.verdict) == ("the handler did not end", Verdict.BROKEN)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_an_application_that_is_not_called(question: Question) -> None:
    findings = perfect()
    unreached = {"over": True, "reached": False, "client": {"status": 400, "end": "FIN"}}
    findings.facts.update(dict.fromkeys(question.raw_scripts, unreached))
    findings.facts.update(dict.fromkeys(question.our_scripts, unreached))
    row = next(row for row in rows(findings) if row.name == question.name)
    assert row.server == "the application is not called; the client sees HTTP 400"
    if question.ours is not None:
        assert (row.wsnursery, row.verdict) == ("the handler is not called", Verdict.HOLDS)


def test_what_is_left() -> None:
    findings = perfect()
    findings.left_over = {"tasks": 2, "descriptors": 1}
    row = rows(findings)[-1]
    assert (row.wsnursery, row.verdict) == ("2 tasks, 1 descriptors", Verdict.BROKEN)
