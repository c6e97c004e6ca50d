"""Hold the newest version of every server to the contract: `python tools/newest_servers.py`.

It installs them in an environment that is thrown away, and runs the suite of all servers. What is
red has changed upstream: a limit that is gone, or a new one. Then change the pins in
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


def pinned() -> dict[str, str]:
    """The pinned requirements without their pins, and the versions that are pinned."""
    servers = (ROOT / "requirements" / "servers.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\S+)==([\d.]+)$", servers, re.MULTILINE))


def main() -> int:
    """Install, run and compare; the exit status is that of pytest."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--report", type=Path, help="write the results into this file, as JSON")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, behind --")
    arguments = parser.parse_args()
    pins = pinned()
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = str(Path(directory, "bin", "python"))
        pip = [python, "-m", "pip", "install", "--quiet", "--editable", f"{ROOT}[all]"]
        requirements = ["--requirement", str(ROOT / "requirements" / "test.txt")]
        subprocess.run([*pip, *requirements, "--upgrade", *pins], check=True)
        listed = subprocess.run(
            [python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True
        ).stdout
        for requirement, version in pins.items():
            name = requirement.partition("[")[0]
            (newest,) = re.findall(rf"^{name}==(.*)$", listed, re.MULTILINE | re.IGNORECASE)
            print(f"{name:12} {version:10}", "as pinned" if newest == version else f"-> {newest}")
        environment = dict(os.environ)
        if arguments.report is not None:
            environment["WSNURSERY_SERVERS_REPORT"] = str(arguments.report.absolute())
        suite = [python, "-m", "pytest", "tests/servers/test_every_server.py", *arguments.pytest]
        return subprocess.run(suite, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
