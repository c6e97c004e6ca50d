"""``python -m wsnursery doctor SERVER``: examine a server."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Sequence

from . import _report
from ._commands import KNOWN_SERVERS, parse
from ._examination import examine
from ._process import CannotExamine
from ._questions import rows

CANNOT = 2
"""The exit status if the server could not be examined."""

INTERRUPTED = 130
"""The exit status after Ctrl-C or SIGTERM, as shells use it."""


def main(arguments: Sequence[str]) -> int:
    """Examine a server, and print the findings.

    Args:
        arguments: The arguments after ``doctor``.

    Returns:
        The exit status: 0 if the contract holds on that server, 1 if not, 2 if it did not start,
        130 after Ctrl-C.
    """
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        command = parse(chosen.server)
    except ValueError as exc:
        parser.error(str(exc))
    # Treat SIGTERM like Ctrl-C, because the server must not outlive this process.
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        findings = examine(command, _progress)
    except CannotExamine as exc:
        sys.stderr.write(f"{exc}\n")
        return CANNOT
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, handler)
        _progress("")  # clear the line
    found = rows(findings)
    if chosen.json:
        shown = _report.as_json(command, findings, found)
    else:
        width = shutil.get_terminal_size().columns
        shown = _report.as_text(command, findings, found, width)
    sys.stdout.write(f"{shown}\n")
    return 0 if _report.holds(found) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wsnursery doctor",
        description="Start an ASGI server with a probe application, find out what it does when "
        "clients and servers go away, and whether wsnursery keeps its contract there. It takes "
        "half a minute and uses a free port of the loopback interface. The server must run one "
        "worker.",
        epilog=f"names: {', '.join(KNOWN_SERVERS)}",
    )
    parser.add_argument(
        "server",
        metavar="SERVER",
        help="a name, or the command that starts your server, with places for the application and "
        f"the address: {KNOWN_SERVERS['hypercorn-trio']!r}",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser


def _progress(words: str) -> None:
    """Show the current step, if the output is a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{words:60}\r")
        sys.stderr.flush()
