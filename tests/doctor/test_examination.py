"""The order of the probes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from wsnursery._doctor import _examination, _ours, _raw
from wsnursery._doctor._commands import parse
from wsnursery._doctor._examination import OURS, RAW, SHUTDOWNS, Findings, examine
from wsnursery._doctor._process import CannotExamine


def scripts(runs: Sequence[_examination.ExaminationRun]) -> list[str]:
    return [script for run in runs for script in run.scripts]


@pytest.mark.parametrize(
    ("kind", "table"), [("raw", _raw.RAW_SCRIPTS), ("ours", _ours.OUR_SCRIPTS)]
)
def test_every_script_runs(kind: str, table: dict[str, Any]) -> None:
    names = {
        script.split("/")[1] for script in scripts((*OURS, *RAW, *SHUTDOWNS)) if kind in script
    }
    assert names == set(table)


class FakeLab:
    """A server that does what the test wants, and writes down what it is asked."""

    def __init__(
        self, *, reached: bool = True, lives: bool = True, deadly: str = "raw/early_frame/"
    ) -> None:
        self.process = self
        self.done: list[str] = []
        self._reached = reached
        self._lives = lives
        self._deadly = deadly

    def run(self, scripts: Sequence[str], **options: Any) -> dict[str, dict[str, Any]]:
        self.done.extend(scripts)
        return {script: {"over": True, "reached": self._reached} for script in scripts}

    def settled_stats(self) -> dict[str, int]:
        self.done.append("count")
        return {"tasks": 5}

    def left_over(self, before: dict[str, int]) -> dict[str, int]:
        self.done.append("compare")
        if not self._lives:
            raise ConnectionRefusedError
        return before

    def answers(self) -> bool:
        return self.done[-1] not in self._deadly

    def last_words(self) -> str:
        return "its last words"


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeLab], tuple[Findings, list[str]]]:
    """Examines a server, and gives the findings and the progress."""

    def visit(lab: FakeLab) -> tuple[Findings, list[str]]:
        @contextmanager
        def opened_lab(command: object) -> Iterator[FakeLab]:
            lab.done.append("start")
            yield lab

        progress: list[str] = []
        monkeypatch.setattr(_examination, "opened_lab", opened_lab)
        return examine(parse("uvicorn"), progress.append), progress

    return visit


Visit = Callable[[FakeLab], tuple[Findings, list[str]]]


def test_examine(visit: Visit) -> None:
    lab = FakeLab()
    findings, progress = visit(lab)
    first, second = SHUTDOWNS
    assert lab.done == [
        "start",
        "ours/leave/close_frame-read",
        "count",
        *scripts(OURS[:-1]),
        "compare",
        *scripts(OURS[-1:]),
        "compare",
        "start",
        *scripts(RAW),
        "start",
        *first.scripts,
        "start",
        *second.scripts,
    ]
    assert progress == [run.scripts[0] for run in (*OURS, *RAW, *SHUTDOWNS)]
    assert findings.left_over == {"tasks": 5}
    assert not findings.facts["raw/early_frame/"]["alive"]
    assert findings.facts["raw/hello/"]["alive"]


def test_a_server_that_does_not_survive_the_early_frame(visit: Visit) -> None:
    lab = FakeLab(deadly="ours/early_frame/")
    findings, _ = visit(lab)
    assert findings.left_over == {"tasks": 5}
    assert lab.done.count("compare") == 1


def test_a_server_that_does_not_survive(visit: Visit) -> None:
    findings, _ = visit(FakeLab(lives=False))
    assert findings.left_over == {"dead process": 1}


def test_a_server_without_the_application(visit: Visit) -> None:
    message = "do not reach the probe application: its last words"
    with pytest.raises(CannotExamine, match=message):
        visit(FakeLab(reached=False))
