"""The layers: imports point down only, and only the module named after a library imports it."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import wsnursery

PACKAGE = Path(wsnursery.__file__).parent

CORE = [
    # Modules of one layer may import each other only in the order in which they stand here.
    ["_errors", "_codes", "_types"],
    ["_protocol", "_outcome", "_handshake", "hooks"],
    ["_observers", "_options", "_transport", "_native", "_host", "_tasks", "_buffers"],
    ["_application", "_service", "_sender", "_receiver", "_watchdog"],
    ["_connection", "_block", "_websocket", "transports"],
    ["_servers", "_carrier", "_link", "asgi", "app", "_drain"],
]
"""From the bottom to the top. What is not here stands above all of it."""

IMPORTERS = {
    # ... and beside the modules named after it, only these may import it.
    "trio": {"_terminal"},
    "trio_websocket": set[str](),
    "wsproto": {"_trio_transport"},  # trio-websocket speaks in its terms
    "hypercorn": set[str](),
    "starlette": set[str](),
    "opentelemetry": set[str](),
}
"""What the core must do without. Where trio runs, it is there: `_native` takes it from
`sys.modules`."""


class Imports(ast.NodeVisitor):
    """What a module imports at run time: at its top, and inside its functions."""

    def __init__(self, path: Path) -> None:
        self.at_import: set[str] = set()
        self.lazily: set[str] = set()
        self._here = self.at_import
        self._package = path.relative_to(PACKAGE.parent).parts[:-1]
        self.visit(ast.parse(path.read_text("utf-8")))

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)

    def _visit_function(self, node: ast.AST) -> None:
        outside, self._here = self._here, self.lazily
        self.generic_visit(node)
        self._here = outside

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            self._visit_function(node)
        else:
            super().visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self._here.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self._package[: len(self._package) - node.level + 1] if node.level else ()
        module = ".".join([*base, *([node.module] if node.module else [])])
        if node.module is None or module == "wsnursery":
            self._here.update(f"{module}.{alias.name}" for alias in node.names)
        else:
            self._here.add(module)


def top(name: str) -> str:
    """The distribution's own name in a dotted one."""
    return name.partition(".")[0]


FLAT = {path.stem: Imports(path) for path in sorted(PACKAGE.glob("*.py"))}
ORDER = [name for layer in CORE for name in layer]


def own(names: set[str]) -> set[str]:
    """The flat modules of this package among them."""
    return {name.split(".")[1] for name in names if name.startswith("wsnursery.")} & set(FLAT)


def test_the_list_of_layers_is_up_to_date() -> None:
    assert [name for name in ORDER if name not in FLAT] == []
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize("name", ORDER)
def test_imports_point_down(name: str) -> None:
    below = set(ORDER[: ORDER.index(name)])
    imports = FLAT[name]
    assert own(imports.at_import | imports.lazily) <= below


def test_no_module_takes_part_in_a_cycle() -> None:
    graph = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): Imports(path).at_import
        for path in PACKAGE.rglob("*.py")
    }
    within = {
        name: {imported for imported in imports if imported in graph}
        for name, imports in graph.items()
    }
    assert len(list(TopologicalSorter(within).static_order())) == len(graph)


@pytest.mark.parametrize("name", ORDER)
def test_the_core_depends_on_anyio_alone(name: str) -> None:
    imports = {top(imported) for imported in FLAT[name].at_import}
    assert imports <= {"anyio", "wsnursery"} | sys.stdlib_module_names
    assert not {top(imported) for imported in FLAT[name].lazily} & set(IMPORTERS)


@pytest.mark.parametrize("name", ["_errors", "_codes", "_types", "_protocol", "_outcome"])
def test_what_is_pure_does_no_io(name: str) -> None:
    imports = FLAT[name].at_import | FLAT[name].lazily
    assert not {top(imported) for imported in imports} & {"anyio", "asyncio", "logging", "socket"}


@pytest.mark.parametrize("library", IMPORTERS)
def test_a_library_is_imported_by_the_modules_named_after_it(library: str) -> None:
    """The modules of the trio-websocket transport are all called ``_trio_...``."""
    family = library.partition("_")[0]
    importers = {
        name
        for name, imports in FLAT.items()
        if library in map(top, imports.at_import | imports.lazily) and family not in name
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
