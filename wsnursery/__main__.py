"""``python -m wsnursery COMMAND``: the commands, each in its own module."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from . import __version__

COMMANDS = {
    "doctor": (
        "wsnursery._doctor.command",
        "examine an ASGI server, and test wsnursery's contract on it",
    ),
    "serve": ("wsnursery.hypercorn._command", "serve an ASGI application on Hypercorn"),
}
"""Name, module and purpose. A module has ``main(arguments) -> exit status``. It is imported only
when its command is given, because each command may need its own extra."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, or print the help if none is given.

    Args:
        arguments: The arguments; by default those of the command line.

    Returns:
        The exit status.
    """
    purposes = "\n".join(f"  {name:10} {purpose}" for name, (_, purpose) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="wsnursery",
        epilog=f"commands:\n{purposes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"wsnursery {__version__}")
    parser.add_argument(
        "command", nargs="?", choices=COMMANDS, metavar="COMMAND", help="one of those below"
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="COMMAND --help explains them")
    chosen = parser.parse_args(arguments)
    if chosen.command is None:
        parser.print_help()
        return 0
    module, _ = COMMANDS[chosen.command]
    try:
        command = import_module(module)
    except ImportError as exc:  # an extra is missing, and the message names it
        sys.stderr.write(f"{exc}\n")
        return 1
    status: int = command.main(chosen.arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
