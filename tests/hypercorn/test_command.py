"""``python -m wsnursery serve``: how its arguments become a configuration."""

import sys
from pathlib import Path
from typing import Any

import pytest

from wsnursery.hypercorn import Config
from wsnursery.hypercorn import _command as _hypercorn_command
from wsnursery.hypercorn._command import main


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What would have been served."""
    calls: list[tuple[Any, Any]] = []

    def run(app: Any, config: Any, *, factory: bool) -> int:
        assert factory is (app == "x:make")
        calls.append((app, config))
        return 5

    monkeypatch.setattr(_hypercorn_command, "run", run)
    return calls


def test_the_application_alone(served: list[tuple[str, Config]]) -> None:
    assert main(["chat:app"]) == 5
    ((app, config),) = served
    assert app == "chat:app"
    assert vars(config) == vars(Config())


def test_a_console_script_finds_the_application_too(
    served: list[tuple[str, Config]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not started with the current directory on its import path, as `python -m` is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/elsewhere"])
    for _ in range(2):
        main(["chat:app"])
        assert sys.path == [str(tmp_path), "/elsewhere"]


def test_a_file_and_what_overrides_it(served: list[tuple[str, Config]], tmp_path: Path) -> None:
    path = tmp_path / "hypercorn.toml"
    path.write_text('bind = "localhost:1"\nworker_class = "uvloop"\nworkers = 7\n')
    assert main(["-c", str(path), "chat:app"]) == 5
    assert main(["-c", str(path), "-b", "a:1", "-b", "b:2", "-k", "trio", "-w", "3", "x:y"]) == 5
    (_, first), (_, second) = served
    assert (first.bind, first.worker_class, first.workers) == (["localhost:1"], "uvloop", 7)
    assert (second.bind, second.worker_class, second.workers) == (["a:1", "b:2"], "trio", 3)


def test_a_factory_and_the_logs(served: list[tuple[str, Config]]) -> None:
    arguments = ["--factory", "--log-level", "debug", "--access-log", "-"]
    assert main([*arguments, "x:make"]) == 5
    ((_, config),) = served
    assert (config.loglevel, config.accesslog) == ("debug", "-")


def test_a_file_that_is_wrong(
    served: list[tuple[str, Config]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["-c", str(tmp_path / "missing.toml"), "chat:app"]) == 1
    assert served == []
    said = capsys.readouterr().err
    assert said.startswith("cannot read the configuration ")
    assert said.count("\n") == 1
