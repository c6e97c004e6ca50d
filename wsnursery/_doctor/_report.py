"""The findings as a table and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from ._answers import Verdict
from ._client import Facts
from ._commands import Command
from ._examination import Findings
from ._questions import Row

LABEL_WIDTH = 19
"""The width of the column with the names of the rows."""


def holds(rows: Sequence[Row]) -> bool:
    """Return whether the contract holds in every respect."""
    return all(row.verdict is not Verdict.BROKEN for row in rows)


def as_text(command: Command, findings: Findings, rows: Sequence[Row], width: int) -> str:
    """Write the findings as a table, as wide as the terminal.

    Args:
        command: The server's command.
        findings: The findings.
        rows: The findings as text.
        width: The width in columns.
    """
    lines = [f"{made_of(findings)}: {command.shown}", ""]
    for row in rows:
        promised = f"{row.wsnursery} [{row.verdict}]" if row.wsnursery else ""
        parts = (row.name, row.asks), ("  server", row.server), ("  wsnursery", promised)
        for name, words in (*parts, ("  how", row.does)):
            if words:
                lines += _wrapped(f"{name:{LABEL_WIDTH}}", words, width)
        lines.append("")
    return "\n".join([*lines, summary(rows)])


def _wrapped(head: str, words: str, width: int) -> list[str]:
    return textwrap.wrap(
        words, max(width, 60), initial_indent=head, subsequent_indent=" " * len(head)
    )


def made_of(findings: Findings) -> str:
    """Name the server and its libraries, with versions."""
    hello = findings.facts["raw/hello/"]
    names = {**hello.get("server", {}), **hello.get("libraries", {})}
    parts = [f"{name} {version}" for name, version in names.items()]
    return f"{', '.join(parts)} on {hello.get('backend')}, Python {hello.get('python')}"


def summary(rows: Sequence[Row]) -> str:
    """Sum up the verdicts in one sentence."""
    broken = [row.name for row in rows if row.verdict is Verdict.BROKEN]
    limited = [row.name for row in rows if row.verdict is Verdict.LIMITED]
    if broken:
        return f"The contract does NOT hold here: see {', '.join(broken)}."
    limits = f"; the server limits it in: {', '.join(limited)}" if limited else ""
    return f"The contract holds here{limits}."


def as_json(command: Command, findings: Findings, rows: Sequence[Row]) -> str:
    """Write everything as JSON, for programs.

    Args:
        command: The server's command.
        findings: The findings.
        rows: The findings as text.
    """
    hello = findings.facts["raw/hello/"]
    report: Facts = {
        "command": command.shown,
        **{key: hello.get(key) for key in ("server", "libraries", "backend", "python")},
        "holds": holds(rows),
        "rows": [
            {
                "name": row.name,
                "asks": row.asks,
                "server": row.server,
                "wsnursery": row.wsnursery,
                "verdict": row.verdict.value,
                "does": row.does,
            }
            for row in rows
        ],
        "facts": findings.facts,
        "left_over": findings.left_over,
    }
    return json.dumps(report, indent=2)
