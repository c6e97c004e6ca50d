"""The command: its arguments and its exit status."""

import io
import json
import signal
import sys
from typing import Any

import pytest

from tests.doctor._found import perfect
from wsnursery._doctor import command
from wsnursery._doctor._examination import Findings
from wsnursery._doctor._process import CannotExamine


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch) -> Findings:
    """What the examination finds."""
    found = perfect()

    def examine(given: Any, progress: Any) -> Findings:
        progress("raw/hello/")
        return found

    monkeypatch.setattr(command, "examine", examine)
    return found


def test_the_contract_holds(findings: Findings, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["uvicorn"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("The contract holds here.\n")
    assert err == ""


def test_it_does_not(findings: Findings, capsys: pytest.CaptureFixture[str]) -> None:
    findings.left_over = {"tasks": 1}
    assert command.main(["uvicorn"]) == 1
    assert capsys.readouterr().out.endswith("NOT hold here: see nothing left.\n")


def test_json(findings: Findings, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--json", "uvicorn"]) == 0
    assert json.loads(capsys.readouterr().out)["holds"]


def test_progress_in_a_terminal(findings: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert command.main(["uvicorn"]) == 0
    assert "raw/hello/" in terminal.getvalue()
    assert terminal.getvalue().endswith(f"\r{' ' * 60}\r")


def test_a_server_that_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def examine(given: Any, progress: Any) -> Findings:
        raise CannotExamine("the server ended with status 1")

    monkeypatch.setattr(command, "examine", examine)
    assert command.main(["uvicorn"]) == 2
    assert capsys.readouterr() == ("", "the server ended with status 1\n")


def test_sigterm_is_like_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(given: Any, progress: Any) -> Findings:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("not interrupted")

    monkeypatch.setattr(command, "examine", examine)
    before = signal.getsignal(signal.SIGTERM)
    assert command.main(["uvicorn"]) == 130
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("arguments", [[], ["hypercron"], ["serve it"]])
def test_a_mistake(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == 2
    assert "usage: wsnursery doctor" in capsys.readouterr().err
