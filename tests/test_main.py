"""The table of commands."""

import subprocess
import sys

import pytest

import wsnursery
from wsnursery.__main__ import COMMANDS, main


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for name, (_, purpose) in COMMANDS.items():
        assert name in shown
        assert purpose in shown


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["dance"])
    assert caught.value.code == 2
    assert "choose from" in capsys.readouterr().err


def test_arguments_go_to_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--help"])
    assert caught.value.code == 0
    assert "MODULE:NAME" in capsys.readouterr().out


def test_status_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsnursery.hypercorn._command.main", len)
    assert main(["serve", "--option", "x", "y"]) == 3


def test_without_a_command_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    bare, _ = capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["--help"])
    assert bare == capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"wsnursery {wsnursery.__version__}\n"


def test_missing_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [*sys.modules]:
        if name.startswith("wsnursery.hypercorn"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(wsnursery, "hypercorn", raising=False)
    monkeypatch.setitem(sys.modules, "hypercorn.config", None)
    monkeypatch.setitem(sys.modules, "hypercorn", None)
    assert main(["serve", "app:app"]) == 1
    assert capsys.readouterr().err.endswith("pip install 'wsnursery[hypercorn]'\n")


def test_run_as_a_module() -> None:
    command = [sys.executable, "-W", "error", "-m", "wsnursery", "doctor", "no such server"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
