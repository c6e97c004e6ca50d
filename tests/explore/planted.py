"""Plant one bug into a copy of the engine and say in which run exploration finds it.

``python -m tests.explore.planted NAME BACKEND`` prints the number of the run and its seed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Bug:
    """A change of one place in the engine, and the scenario in which it shows."""

    name: str
    good: str
    bad: str
    scenario: str
    and_good: str = ""
    """A second place, where one alone would be caught by the other."""
    and_bad: str = ""

    def plant(self, package: Path) -> None:
        """Change the copy.

        Raises:
            ValueError: the engine has changed so that the place is not there any more.
        """
        self._change(package, self.good, self.bad)
        if self.and_good:
            self._change(package, self.and_good, self.and_bad)

    def _change(self, package: Path, good: str, bad: str) -> None:
        places = [path for path in package.rglob("*.py") if good in path.read_text()]
        if len(places) != 1 or places[0].read_text().count(good) != 1:
            raise ValueError(f"the bug {self.name!r} has no place any more: find it a new one")
        places[0].write_text(places[0].read_text().replace(good, bad))


BUGS = (
    Bug(
        "the farewell is not shielded",
        "CancelScope(deadline=deadline, shield=True)",
        "CancelScope(deadline=deadline)",
        "slow_server",
    ),
    Bug(
        "a message is taken before the last checkpoint",
        "a cancellation would lose the message.\n"
        "        if inbox.messages:\n            message = inbox.take()\n",
        "a cancellation would lose the message.\n"
        "        if inbox.messages:\n            message = inbox.take()\n"
        "            await self._backend.checkpoint()\n",
        "timeouts",
    ),
    Bug(
        "the last word overwrites the first",
        "        if self.facts is None:\n",
        "        if facts is not None:\n",
        "both_close",
    ),
    Bug(
        "a wide except swallows a cancellation",
        "            self._abandon(ticket, caller)\n            raise\n",
        "            self._abandon(ticket, caller)\n",
        "echo",
    ),
    Bug(
        "a wake-up is missing",
        "self.inbox.put(message, size)\n                self.wake_reader()\n",
        "self.inbox.put(message, size)\n",
        "timeouts",
    ),
    Bug(
        "the newest message goes first",
        "ticket = self.queue.popleft()",
        "ticket = self.queue.pop()",
        "busy_senders",
    ),
    Bug(
        "two failing senders leave a group",
        "            if self.is_failure(error):\n                self.fail(",
        "            if error:\n                self.fail(",
        "busy_senders",
        "without(failure.error, lambda exc: is_own(exc) or is_cancellation(exc))",
        "without(failure.error, is_cancellation)",
    ),
    Bug(
        "a cancellation next to an error stays in the group",
        "without(failure.error, lambda exc: is_own(exc) or is_cancellation(exc))",
        "without(failure.error, is_own)",
        "echo",
    ),
    Bug(
        "a cancelled close is never repeated",
        "            lifecycle.begin_close(code, reason)\n",
        "            lifecycle._say_closing(None)\n            await anyio.lowlevel.checkpoint()\n"
        "            lifecycle.own_close = False\n"
        "            lifecycle.begin_close(code, reason)\n",
        "ping_pong",
    ),
    Bug(
        "the farewell comes before the children have ended",
        "                    ledger.settle()\n                else:\n",
        "                    ledger.settle()\n"
        "                    await _close(\n"
        "                        connection, anyio.current_time() + 5, from_outside=False\n"
        "                    )\n                else:\n",
        "push",
    ),
)


def find(bug: Bug, backend: str) -> str:
    """Explore a copy of the engine with the bug, in a process of its own.

    Returns:
        What that process says: the number of the run and its seed, or ``"not found"``.
    """
    with TemporaryDirectory() as folder:
        package = Path(folder) / "wsnursery"
        shutil.copytree(ROOT / "wsnursery", package, ignore=shutil.ignore_patterns("__pycache__"))
        bug.plant(package)
        code = f"from tests.explore.planted import explore; explore({bug.scenario!r}, {backend!r})"
        result = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": f"{folder}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
            cwd=folder,
        )
    return result.stdout.strip()


def explore(scenario: str, backend: str) -> None:
    """Explore one scenario and print the first failure."""
    # Imported here: the parent process must not import the engine that it copies.
    from tests.explore import scenarios
    from wsnursery import testing

    report = testing.Report()
    try:
        report = testing.explore(
            getattr(scenarios, scenario), backends=[backend], faults=testing.ALL_FAULTS
        )
    except testing.ExplorationFailed as failed:
        print(f"run {failed.failure.run}, seed {failed.failure.seed}")
    else:
        print(f"not found in {report.runs} runs")


if __name__ == "__main__":
    (chosen,) = [bug for bug in BUGS if bug.name == sys.argv[1]]
    print(find(chosen, sys.argv[2]))
