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
    module: str
    good: str
    bad: str
    scenario: str

    def plant(self, package: Path) -> None:
        """Change the copy.

        Raises:
            AssertionError: the engine has changed so that the place is not there any more.
        """
        path = package / self.module
        source = path.read_text()
        assert source.count(self.good) == 1, f"{self.name}: the place in {self.module} has gone"
        path.write_text(source.replace(self.good, self.bad))


BUGS = (
    Bug(
        "the farewell is not shielded",
        "_block.py",
        "with CancelScope(deadline=deadline, shield=True):",
        "with CancelScope(deadline=deadline):",
        "slow_server",
    ),
    Bug(
        "a message is taken before the last checkpoint",
        "_connection.py",
        "            message = self.inbox.take()\n",
        "            message = self.inbox.take()\n            await checkpoint()\n",
        "timeouts",
    ),
    Bug(
        "the last word overwrites the first",
        "_protocol.py",
        "        if self.facts is None:\n",
        "        if facts is not None:\n",
        "both_close",
    ),
    Bug(
        "a wide except swallows a cancellation",
        "_connection.py",
        "            self._abandon(delivery)\n            raise\n",
        "            self._abandon(delivery)\n",
        "echo",
    ),
    Bug(
        "a wake-up is missing",
        "_connection.py",
        "            self.services.make_room()\n            return message\n",
        "            return message\n",
        "timeouts",
    ),
    Bug(
        "who waits to send does not look again",
        "_connection.py",
        "        self.services.give_up_sending()\n        self._lose(self.outbox.drop())\n",
        "        self.services.give_up_sending()\n",
        "busy_senders",
    ),
    Bug(
        "two failing senders leave a group",
        "_connection.py",
        "        if self.is_failure(exc):\n            self.fail(Source.CHILD, exc)",
        "        self.fail(Source.CHILD, exc)",
        "busy_senders",
    ),
    Bug(
        "a cancellation beside an error stays in the group",
        "_outcome.py",
        "without(failure.error, lambda exc: is_own(exc) or is_cancellation(exc))",
        "without(failure.error, is_own)",
        "echo",
    ),
    Bug(
        "a cancelled close is never repeated",
        "_connection.py",
        "            self.begin_close(code, reason)\n        self._tell",
        "            self._say_closed()\n            await checkpoint()\n"
        "            self.own_close = False\n"
        "            self.begin_close(code, reason)\n        self._tell",
        "ping_pong",
    ),
    Bug(
        "the farewell comes before the children have ended",
        "_block.py",
        "                        host.settle()\n                    else:\n",
        "                        host.settle()\n"
        "                        await _say_goodbye(\n"
        "                            connection, current_time() + 5, from_outside=False\n"
        "                        )\n                    else:\n",
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
