"""The layers: imports point down only, and only the folder named after a library imports it."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import wsnursery

PACKAGE = Path(wsnursery.__file__).parent

GROUND = {
    "_codec",
    "_codes",
    "_errors",
    "_handshake",
    "_log_fields",
    "_options",
    "_statistics",
    "_types",
    "hooks",
}
"""Single files at the top of the package that import nothing but one another."""

MAY_IMPORT = {
    # A folder or a single file, and what it may import in addition to the ground.
    "_backend": set[str](),
    "_engine": {"_backend"},
    "transports": {"_engine"},
    "rooms": {"_engine", "_backend"},
    "redis": {"rooms", "_engine", "_backend"},
    "asgi": {"_engine", "_backend"},
    "starlette": {"_engine", "asgi"},
    "trio_websocket": {"_engine", "_backend"},
    "hypercorn": {"_engine", "_backend", "asgi", "rooms"},
    "opentelemetry": set[str](),
    "timeline": set[str](),
    "wsnursery": {"_engine", "asgi", "rooms"},
    "testing": {"wsnursery", "rooms", "timeline", "_backend"},
    "_doctor": {"_engine", "asgi"},
    "__main__": {"_doctor", "hypercorn", "wsnursery"},
}
"""The layout, from the ground up. Imports point down, including those for type checkers.

`tools.house_picture` draws it, and CONTRIBUTING.md shows it."""

IMPORTERS = {
    # A library, and the folders and files that may import it.
    "trio": {"trio_websocket", "hypercorn", "testing", "_doctor"},
    "trio_websocket": {"trio_websocket"},
    "wsproto": {"trio_websocket", "hypercorn"},  # both speak in its terms
    "hypercorn": {"hypercorn"},
    "hiredis": {"redis"},
    "starlette": {"starlette"},
    "opentelemetry": {"opentelemetry"},
}
"""What the core must do without. Where trio runs, it is imported already: `_backend` takes it from
`sys.modules`, and imports it for type checkers."""


class Imports(ast.NodeVisitor):
    """What a module imports: at its top, inside its functions, and for type checkers."""

    def __init__(self, path: Path) -> None:
        self.at_import: set[str] = set()
        self.lazily: set[str] = set()
        self.for_types: set[str] = set()
        self._here = self.at_import
        self._package = path.relative_to(PACKAGE.parent).parts[:-1]
        self.visit(ast.parse(path.read_text("utf-8")))

    @property
    def all(self) -> set[str]:
        return self.at_import | self.lazily | self.for_types

    def _visit_as(self, kind: set[str], node: ast.AST) -> None:
        outside, self._here = self._here, kind
        self.generic_visit(node)
        self._here = outside

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" in ast.unparse(node.test):
            self._visit_as(self.for_types, node)
        else:
            self.generic_visit(node)

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            self._visit_as(self.lazily, node)
        else:
            super().visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self._here.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self._package[: len(self._package) - node.level + 1] if node.level else ()
        module = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            name = f"{module}.{alias.name}"
            self._here.add(name if name in PATHS else module)


def module_name(path: Path) -> str:
    """The name under which a file of the package is imported."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def top(name: str) -> str:
    """The distribution's own name in a dotted one."""
    return name.partition(".")[0]


def place(name: str) -> str:
    """The folder, or the single file, that a module of the package is in."""
    return ".".join(name.split(".")[1:2]) or "wsnursery"


PATHS = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = {name: Imports(path) for name, path in PATHS.items()}
CORE = {name for name in MODULES if place(name) in GROUND | {"_backend", "_engine", "asgi"}}


def test_every_folder_has_its_row() -> None:
    assert {place(name) for name in MODULES} == GROUND | set(MAY_IMPORT)


def test_contributing_shows_the_table() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text("utf-8")
    start = text.index("| folder or file |")
    lines = text[start : text.index("\n\n", start)].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    shown = {name: set(re.findall(r"`(\w+)`", imports)) for name, _, imports in rows}
    assert shown == {f"`{name}`": found for name, found in MAY_IMPORT.items()}
    ground = text[text.index("The *ground* is") : text.index("Every folder may import it.")]
    assert set(re.findall(r"`(\w+)`", ground)) == GROUND


def test_imports_point_down() -> None:
    for name, imports in MODULES.items():
        own = {place(imported) for imported in imports.all if imported in MODULES}
        allowed = GROUND | {place(name)} | MAY_IMPORT.get(place(name), set())
        assert own <= allowed, name


def test_the_table_goes_down() -> None:
    assert list(TopologicalSorter(MAY_IMPORT).static_order())


def test_no_module_takes_part_in_a_cycle() -> None:
    """Imports inside functions and those for type checkers count as well."""
    within = {
        name: {imported for imported in imports.all if imported in MODULES}
        for name, imports in MODULES.items()
    }
    assert len(list(TopologicalSorter(within).static_order())) == len(MODULES)


MAX_LINES = 400


def test_no_module_is_long() -> None:
    """A module that needs more lines has more than one concept."""
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in PATHS.items()}
    assert {name for name, count in lines.items() if count > MAX_LINES} == set()


def test_no_two_classes_have_one_name() -> None:
    """A leading underscore makes no difference, because a reader does not say it."""
    places: dict[str, list[str]] = {}
    for name, path in PATHS.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(name)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_depends_on_anyio_alone(name: str) -> None:
    imports = {top(imported) for imported in MODULES[name].at_import}
    assert imports <= {"anyio", "wsnursery"} | sys.stdlib_module_names
    assert not {top(imported) for imported in MODULES[name].lazily} & set(IMPORTERS)


@pytest.mark.parametrize(
    "name", ["_errors", "_codes", "_types", "_engine.states", "_engine.events", "_engine.outcome"]
)
def test_what_is_pure_does_no_io(name: str) -> None:
    imports = MODULES[f"wsnursery.{name}"].all
    assert not {top(imported) for imported in imports} & {"anyio", "asyncio", "logging", "socket"}


@pytest.mark.parametrize("library", IMPORTERS)
def test_a_library_is_imported_in_the_folder_named_after_it(library: str) -> None:
    importers = {
        place(name)
        for name, imports in MODULES.items()
        if library in map(top, imports.at_import | imports.lazily)
    }
    assert importers <= IMPORTERS[library]


WITHOUT_TRIO = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {libraries}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())

import asyncio
import wsnursery

events = [{{"type": "websocket.connect"}}, {{"type": "websocket.receive", "text": "hello"}},
          {{"type": "websocket.disconnect", "code": 1000}}]
sent = []

async def receive():
    while len(sent) < 3 - len(events):  # the peer waits for its answers
        await asyncio.sleep(0)
    return events.pop(0)

async def send(event):
    sent.append(event)

@wsnursery.websocket_app
async def echo(ws):
    await ws.accept()
    async for message in ws:
        await ws.send(message)

asyncio.run(echo({{"type": "websocket", "path": "/", "headers": []}}, receive, send))
assert [event["type"] for event in sent] == ["websocket.accept", "websocket.send"], sent
assert not set(sys.modules) & {libraries}
print("ok")
"""


def test_it_runs_where_no_library_can_be_imported() -> None:
    code = WITHOUT_TRIO.format(libraries=set(IMPORTERS))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=PACKAGE.parent,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("ok\n", "", 0)


def test_the_table_of_mutation_names_modules_and_tests_that_exist() -> None:
    root = PACKAGE.parent
    table = tomllib.loads((root / "tools/mutation.toml").read_text("utf-8"))
    assert set(PATHS) >= {f"wsnursery.{module}" for module in table["modules"]}
    assert set(table["modules"]) >= {survivor["module"] for survivor in table["survivor"]}
    tests = {path for paths in table["modules"].values() for path in paths}
    assert [path for path in sorted(tests) if not (root / path).exists()] == []
