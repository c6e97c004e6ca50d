"""Tests use the public API: what is private is imported only by the tests of its own folder.

A folder of tests, or a single file, may import the private names of the folder or file of the
package that it is named after, without the underscore. The table has every other import.
"""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent

WHITE_BOX = {
    # A folder or a file, and whose private names it imports in addition to those of its namesake.
    "_helpers.py": {"_engine"},  # ends a connection as a transport that has broken
    "_pairs.py": {"trio_websocket"},  # two ends over a stream in memory
    "_recognised.py": {"_backend", "_engine", "asgi"},  # a transport as `asgi` makes it
    "asgi": {"_backend", "_engine"},  # receiving and sending in place, turn by turn
    "engine": {"_backend", "_errors", "asgi"},  # its parts run on a backend, under an extension
    # the table of states, the address at which Redis answers, and how programs are planned
    "explore": {"_engine", "redis", "testing"},
    "faults": {"testing"},  # the exceptions of the personalities
    "rooms": {"_backend", "_engine", "asgi"},  # delivery in place, turn by turn
    "servers": {"_doctor", "redis"},  # raw frames and handshakes; the scripts in a real Redis
    "test_cost.py": {"_engine"},  # how many members a turn serves
    "test_options.py": {"_codec"},  # the default of a field
    "test_pictures.py": {"_engine"},  # the picture of the table of states
    "test_transports.py": {"testing"},  # the checks of `check_transport`, each as a test of its own
}


def private_place(name: str) -> str | None:
    """The folder or single file that a private name of the package is in; else `None`."""
    top, *parts = name.split(".")
    if top != "wsnursery" or not any(re.match(r"_(?!_)", part) for part in parts):
        return None
    return parts[0]


def private_places(path: Path) -> set[str]:
    """The folders and single files whose private names a file of the tests imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {place for place in map(private_place, names) if place is not None}


def test_private_names_are_imported_where_the_table_says() -> None:
    found: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("*.py")):
        folder = path.relative_to(TESTS).parts[0]
        namesake = folder.removesuffix(".py").removeprefix("test_")
        others = private_places(path) - {namesake, f"_{namesake}"}
        if others:
            found.setdefault(folder, set()).update(others)
    assert found == WHITE_BOX
