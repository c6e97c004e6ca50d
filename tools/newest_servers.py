"""Hold the newest anyio, trio and servers to the contract: `python tools/newest_servers.py`.

It installs them in an environment that is thrown away, whatever our own bounds say. If one is newer
than what all other tests run with, it runs the tests of the contract there: on this server alone if
it is one, else on all servers, and in memory too if it is anyio or trio. What is red has changed
upstream. With a server it is a limit that is gone, or a new one: then change the pins in
requirements/servers.txt and tests/servers/_limits.py together.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
ON_SERVERS, IN_MEMORY = "tests/servers/test_every_server.py", "tests/contract"
LIBRARIES = {"anyio", "trio"}
"""What both backends are made of. The tests install their newest release that we allow."""

PROGRAMS = {"anycorn", "daphne", "granian", "hypercorn", "uvicorn"}
"""The names of rows begin with them. Several servers share what else is pinned, such as uvloop."""


def pinned() -> dict[str, str]:
    """The pinned requirements without their pins, and the versions that are pinned."""
    servers = (ROOT / "requirements" / "servers.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\S+)==([\d.]+)$", servers, re.MULTILINE))


def installed(python: str) -> dict[str, str]:
    """The versions of all distributions, by their names in small letters."""
    listed = subprocess.run(
        [python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True
    ).stdout
    return {name.lower(): version for name, version in re.findall(r"(?m)^(\S+)==(.*)$", listed)}


def newer(before: dict[str, str], newest: dict[str, str]) -> set[str]:
    """Print every version and the newest one; give the names of those that differ."""
    for name, version in before.items():
        is_newest = newest[name] == version
        print(f"{name:12} {version:10}", "is the newest" if is_newest else f"-> {newest[name]}")
    return {name for name in before if newest[name] != before[name]}


def main() -> int:
    """Install, run and compare; the exit status is that of pytest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--report", type=Path, help="run in any case; write the results into this file, as JSON"
    )
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, behind --")
    arguments = parser.parse_args()
    pins = pinned()
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = str(Path(directory, "bin", "python"))
        pip = [python, "-m", "pip", "install", "--quiet"]
        ours = ["--editable", f"{ROOT}[all]", "--requirement", f"{ROOT}/requirements/test.txt"]
        subprocess.run([*pip, *ours, *pins], check=True)
        before = {name.partition("[")[0].lower(): version for name, version in pins.items()}
        before |= {name: installed(python)[name] for name in LIBRARIES}
        subprocess.run([*pip, "--upgrade", *pins, *LIBRARIES], check=True)
        changed = newer(before, installed(python))
        if not changed and arguments.report is None:
            print("Nothing is newer than what the other tests run with.")
            return 0
        environment = dict(os.environ)
        if arguments.report is not None:
            environment["WSNURSERY_SERVERS_REPORT"] = str(arguments.report.absolute())
        tests = [ON_SERVERS, *([IN_MEMORY] if changed & LIBRARIES else [])]
        if changed and changed <= PROGRAMS and arguments.report is None:
            tests += ["-k", " or ".join(sorted(changed))]
        suite = [python, "-m", "pytest", *tests, *arguments.pytest]
        return subprocess.run(suite, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
