"""What the two Autobahn tools share: the testsuite itself, verdicts, and how to compare them.

``wstest`` needs CPython 2.7. It is taken from the command line, from ``PATH``, or built once with a
CPython 2.7 from ``PATH`` or from pyenv, in the user's cache directory.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import trio

SKIPPED = 77
TESTSUITE = "autobahntestsuite==25.10.1"
MAX_MESSAGE_SIZE = 32 * 1024 * 1024
"""Twice what the largest case sends, in bytes."""

QUICK = [f"{group}.*" for group in range(1, 11)]
"""All but compression (12 and 13), which takes many minutes."""

RACES = {
    *("3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"),
    *("6.4.1", "6.4.2", "6.4.3", "6.4.4"),
}
"""A message and a violation of the protocol arrive at once: has the echo of the message gone out
before the echo closes? It need not, and a bare application differs from run to run too."""

TOLERATED = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}


@dataclass(frozen=True)
class Verdict:
    """What the testsuite says about one case."""

    behavior: str
    close: str
    seconds: float


Verdicts = dict[str, Verdict]
"""By case."""


def find_wstest(given: str | None) -> Path | None:
    """The testsuite's executable; says why if there is none and none can be built."""
    if given is not None:
        return Path(given).resolve()
    found = shutil.which("wstest")
    if found is not None:
        return Path(found)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "wsnursery")
    built = cache / TESTSUITE / "bin" / "wstest"
    if not built.exists():
        python = _find_python_2()
        if python is None:
            print("SKIPPED: Autobahn's testsuite needs CPython 2.7, and there is none here")
            return None
        try:
            _build(python, built.parents[1])
        except subprocess.CalledProcessError as exc:
            print(f"SKIPPED: Autobahn's testsuite could not be built: {exc}")
            return None
    return built


def _find_python_2() -> str | None:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    installed = map(str, pyenv.glob("2.7*/bin/python2.7"))
    return next((path for path in chain(installed, ["python2.7"]) if shutil.which(path)), None)


def _build(python: str, place: Path) -> None:
    print(f"Building {TESTSUITE} in {place}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        tools = Path(directory, "bin")
        commands: list[list[str | Path]] = [
            [sys.executable, "-m", "venv", directory],
            [tools / "pip", "install", "-q", "virtualenv<20.22"],  # the last for CPython 2.7
            [tools / "virtualenv", "-q", "-p", python, place],
            [place / "bin" / "pip", "install", "-q", TESTSUITE],
        ]
        for command in commands:
            subprocess.run(command, check=True)


def free_port() -> int:
    """A port of the loopback interface that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def until_it_answers(port: int) -> None:
    """Wait until a server listens on a port."""
    with trio.fail_after(30):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.1)
            else:
                await stream.aclose()
                return


def write_spec(directory: Path, cases: list[str], **more: object) -> list[str]:
    """Write what the testsuite is to do; gives the last arguments of its command."""
    spec = directory / "spec.json"
    fixed = {"outdir": str(directory / "reports"), "cases": cases}
    spec.write_text(json.dumps({**fixed, "exclude-cases": [], "exclude-agent-cases": {}, **more}))
    return ["--spec", str(spec)]


def read_reports(directory: Path) -> dict[str, Verdicts]:
    """What the testsuite has found out, by agent."""
    index = json.loads((directory / "reports" / "index.json").read_text())
    return {
        agent: {
            case: Verdict(of["behavior"], of["behaviorClose"], of["duration"] / 1000)
            for case, of in cases.items()
        }
        for agent, cases in index.items()
    }


def print_table(verdicts: dict[str, Verdicts]) -> None:
    """Count what every agent got, as a table for the documentation."""
    columns = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED")
    print("|", " | ".join(["", "cases", *columns, "close not OK", "seconds"]), "|")
    print("|" + "---|" * (len(columns) + 4))
    for agent, of in sorted(verdicts.items()):
        counts = Counter(verdict.behavior for verdict in of.values())
        closes = sum(verdict.close not in TOLERATED for verdict in of.values())
        seconds = sum(verdict.seconds for verdict in of.values())
        cells = [agent, len(of), *(counts[column] for column in columns), closes, f"{seconds:.0f}"]
        print("|", " | ".join(map(str, cells)), "|")


def count_lost(bare: Verdicts, ours: Verdicts) -> int:
    """Print where the two differ; give how many cases ours alone has lost.

    Args:
        bare: The verdicts of the same thing without this library.
        ours: Those with it.
    """
    lost = 0
    for case, was in bare.items():
        now = ours.get(case, Verdict("not run", "not run", 0))
        for what, before, after in (
            ("case", was.behavior, now.behavior),
            ("close", was.close, now.close),
        ):
            if _rank(after) > _rank(before) and not (after == "NON-STRICT" and case in RACES):
                lost += 1
                print(f"lost: {what} {case}: {before} bare, {after} with wsnursery")
            elif after != before:
                print(f"differs: {what} {case}: {before} bare, {after} with wsnursery")
    return lost


def _rank(verdict: str) -> int:
    """How bad it is."""
    if verdict == "NON-STRICT":
        return 1
    return 0 if verdict in TOLERATED else 2
