"""The order of the probes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from wsnursery._doctor import _examination, _ours, _raw
from wsnursery._doctor._commands import parse
from wsnursery._doctor._examination import OURS, RAW, SHUTDOWNS, examine


def scripts(runs: Sequence[_examination.Run]) -> list[str]:
    return [script for run in runs for script in run.scripts]


@pytest.mark.parametrize(("kind", "table"), [("raw", _raw.SCRIPTS), ("ours", _ours.SCRIPTS)])
def test_every_script_runs(kind: str, table: dict[str, Any]) -> None:
    names = {
        script.split("/")[1] for script in scripts((*OURS, *RAW, *SHUTDOWNS)) if kind in script
    }
    assert names == set(table)


class FakeLab:
    """A server on which every script finds something else."""

    def __init__(self, done: list[str]) -> None:
        self._done = done
        self.process = self

    def run(self, scripts: Sequence[str], **options: Any) -> dict[str, dict[str, Any]]:
        self._done.extend(scripts)
        return {script: {"over": True} for script in scripts}

    def settled_stats(self) -> dict[str, int]:
        self._done.append("count")
        return {"tasks": 5}

    def left_over(self, before: dict[str, int]) -> dict[str, int]:
        self._done.append("compare")
        return before

    def answers(self) -> bool:
        return self._done[-1] != "raw/early_frame/"


def test_examine(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    told: list[str] = []

    @contextmanager
    def opened(command: object) -> Iterator[FakeLab]:
        done.append("start")
        yield FakeLab(done)

    monkeypatch.setattr(_examination, "opened", opened)
    findings = examine(parse("uvicorn"), told.append)
    warm_up = ["start", "ours/leave/close_frame-read", "count"]
    assert done[: len(warm_up)] == warm_up
    rest = done[len(warm_up) :]
    first, second = SHUTDOWNS
    assert rest == [
        *scripts(OURS),
        "compare",
        *scripts(RAW),
        "start",
        *first.scripts,
        "start",
        *second.scripts,
    ]
    assert told == [run.scripts[0] for run in (*OURS, *RAW, *SHUTDOWNS)]
    assert findings.left_over == {"tasks": 5}
    assert findings.facts["raw/early_frame/"] == {"over": True, "alive": False}
    assert findings.facts["raw/hello/"]["alive"]
