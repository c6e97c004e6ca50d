"""The servers that the tests start, one row each, and what has to be installed for it.

The newest versions are pinned in requirements/servers.txt, the older ones in pyproject.toml
(`tool.wsnursery.older-servers`).
"""

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLDER = ROOT / ".pytest_cache" / "d" / "older-servers"
"""Where pytest keeps what `--cache-clear` clears."""


@dataclass(frozen=True)
class Server:
    """How to start one server.

    Attributes:
        name: the id of the row in tests.
        command: the arguments after the interpreter; `{app}` and `{fd}` are filled in, or `{port}`
            for a server that can only bind by itself.
        backend: the library that the application runs on.
        distribution: whose version it is.
        stop_within: seconds from SIGTERM to the end of the process with idle handlers.
        grace: the options that give handlers one second after SIGTERM.
        needs: further modules that must be installed.
        older: which older version, by its name in pyproject.toml.
    """

    name: str
    command: tuple[str, ...]
    backend: str
    distribution: str
    stop_within: float = 10
    grace: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    older: str | None = None

    @property
    def version(self) -> str:
        """What is tested: of an older one what is pinned, else what is installed."""
        if self.older is None:
            return importlib.metadata.version(self.distribution)
        pins = dict(requirement.split("==") for requirement in _older_servers()[self.older])
        return pins[self.distribution]

    def import_path(self) -> list[str]:
        """What has to come first on the import path; skips the test if something is missing."""
        for module in (self.distribution, *self.needs):
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"{module} is not installed: pip install -r requirements/servers.txt")
        return [] if self.older is None else [str(_install_older(self.older))]


def _older_servers() -> dict[str, list[str]]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    older: dict[str, list[str]] = pyproject["tool"]["wsnursery"]["older-servers"]
    return older


def _install_older(name: str) -> Path:
    """A directory with an older version, which hides the newest one when it is imported first."""
    requirements = _older_servers()[name]
    place = OLDER / "+".join(requirements)
    if not place.exists():
        OLDER.mkdir(parents=True, exist_ok=True)
        unfinished = tempfile.mkdtemp(dir=OLDER)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        done = subprocess.run(
            [*pip, unfinished, *requirements], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"{name} cannot be installed: {done.stderr.strip()[-200:]}")
        try:
            Path(unfinished).rename(place)
        except OSError:  # another process of the same tests was quicker
            if not place.exists():
                raise
            shutil.rmtree(unfinished)
    return place


def _corn(program: str, worker: str, backend: str, older: str | None = None) -> Server:
    command = ("-m", program, "-k", worker, "-b", "fd://{fd}", "--log-level", "info", "{app}")
    return Server(
        f"{older or program}-{worker}",
        command,
        backend,
        program,
        grace=("--graceful-timeout", "1"),
        needs=("uvloop",) if worker == "uvloop" else (),
        older=older,
    )


def _uvicorn(protocol: str, loop: str = "asyncio", older: str | None = None) -> Server:
    command = ("-m", "uvicorn", "--fd", "{fd}", "--ws", protocol, "--loop", loop, "{app}")
    name = {"websockets-sansio": "sansio", "websockets": "legacy", "wsproto": "wsproto"}[protocol]
    return Server(
        f"{older or 'uvicorn'}-{name}" + (f"-{loop}" if loop != "asyncio" else ""),
        command,
        "asyncio",
        "uvicorn",
        grace=("--timeout-graceful-shutdown", "1"),
        needs=(protocol.partition("-")[0], loop),
        older=older,
    )


def _granian(loop: str) -> Server:
    command = ("-m", "granian", "--interface", "asgi", "--port", "{port}", "--loop", loop, "{app}")
    name = "granian" if loop == "asyncio" else f"granian-{loop}"
    return Server(name, command, "asyncio", "granian", needs=(loop,))


ROWS = (
    _corn("hypercorn", "trio", "trio"),
    _corn("hypercorn", "asyncio", "asyncio"),
    _corn("hypercorn", "uvloop", "asyncio"),
    _corn("anycorn", "trio", "trio"),
    _corn("anycorn", "asyncio", "asyncio"),
    _uvicorn("websockets-sansio"),
    _uvicorn("wsproto"),
    _uvicorn("websockets"),
    _uvicorn("websockets-sansio", "uvloop"),
    _uvicorn("wsproto", "uvloop"),
    _uvicorn("websockets", "uvloop"),
    _granian("asyncio"),
    _granian("uvloop"),
    Server("daphne", ("-m", "daphne", "--fd", "{fd}", "{app}"), "asyncio", "daphne"),
    _corn("hypercorn", "trio", "trio", older="hypercorn-0.16"),
    _corn("hypercorn", "asyncio", "asyncio", older="hypercorn-0.16"),
    _uvicorn("wsproto", older="uvicorn-0.30"),
    _uvicorn("websockets", older="uvicorn-0.30"),
)

SERVERS = {server.name: server for server in ROWS}


def _serve(worker: str, backend: str) -> Server:
    command = ("-m", "wsnursery", "serve", "-k", worker, "-b", "fd://{fd}", "{app}")
    return Server(f"serve-{worker}", command, backend, "hypercorn")


OUR_SERVERS = {
    server.name: server for server in (_serve("trio", "trio"), _serve("asyncio", "asyncio"))
}
"""Hypercorn as `wsnursery.hypercorn` runs it."""
