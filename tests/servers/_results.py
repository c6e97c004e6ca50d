"""What the contract suite found, for docs/servers.md: one JSON file.

Set WSNURSERY_SERVERS_REPORT to its name.
"""

import inspect
import json
import platform
import re
from pathlib import Path
from typing import Any

import pytest

from tests.servers._limits import Limit, limit_of
from tests.servers._rows import Server

ENVIRONMENT_VARIABLE = "WSNURSERY_SERVERS_REPORT"


def row_of(item: pytest.Item) -> Server | None:
    """The server that a test runs on."""
    callspec = getattr(item, "callspec", None)
    row = callspec.params.get("row") if callspec is not None else None
    return row if isinstance(row, Server) else None


def name_of(item: pytest.Item, row: Server) -> str:
    """A test's name without its server: `test_x[RST]`."""
    name, _, parameters = item.name.removesuffix("]").partition("[")
    rest = f"-{parameters}-".replace(f"-{row.name}-", "-", 1).strip("-")
    return f"{name}[{rest}]" if rest else name


def rules_of(item: pytest.Item) -> list[str]:
    """The rules that a test names, in the comment above it."""
    comments = inspect.getcomments(getattr(item, "function", None)) or ""
    return re.findall(r"\b[A-Z]\d+\b", comments.partition("contract:")[2])


def limit_on(item: pytest.Item) -> Limit | None:
    """What is known to be impossible of a test on its server."""
    row = row_of(item)
    return None if row is None else limit_of(row.name, name_of(item, row))


class Results:
    """Collects the outcomes of the tests that run on a server."""

    def __init__(self) -> None:
        self._servers: dict[str, Any] = {}
        self._results: list[dict[str, Any]] = []

    def add(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Note the outcome of a phase of a test, if it is the one that counts."""
        row = row_of(item)
        if row is None or (report.when != "call" and report.outcome == "passed"):
            return
        self._servers[row.name] = {
            "backend": row.backend,
            "command": row.command,
            "distribution": row.distribution,
            "version": row.version,
        }
        outcome, reason, upstream = self._outcome(item, report)
        limit = limit_on(item)
        # Of a test that cannot pass, the other rules are for other tests to show.
        rules = [limit.rule] if limit is not None else rules_of(item)
        for rule in rules:
            self._results.append(
                {
                    "rule": rule,
                    "server": row.name,
                    "version": row.version,
                    "test": name_of(item, row),
                    "says": (inspect.getdoc(getattr(item, "function", None)) or "").split("\n")[0],
                    "outcome": outcome,
                    "reason": reason,
                    "upstream": upstream,
                    "facts": dict(report.user_properties),
                }
            )

    def _outcome(
        self, item: pytest.Item, report: pytest.TestReport
    ) -> tuple[str, str | None, str | None]:
        if report.skipped and hasattr(report, "wasxfail"):
            limit = limit_on(item)
            assert limit is not None
            return "limit", limit.reason, limit.upstream
        if report.skipped and isinstance(report.longrepr, tuple):
            return "skipped", report.longrepr[2].removeprefix("Skipped: "), None
        return report.outcome, None, None

    def write(self, path: Path) -> None:
        """Write the file."""
        content = {
            "python": platform.python_version(),
            "servers": self._servers,
            "results": self._results,
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
