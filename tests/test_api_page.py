"""docs/api.md has every public name, and every public name says what its user must know."""

import ast
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import wsnursery
from wsnursery import testing

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
DIRECTIVE = re.compile(r"^\.\. auto(?!module)\w+:: (wsnursery[\w.]*)", re.MULTILINE)
WHOLE_MODULE = re.compile(r"^\.\. automodule:: (wsnursery[\w.]*)\n   :members:", re.MULTILINE)

MODULES = [
    "wsnursery",
    *(f"wsnursery.{info.name}" for info in pkgutil.iter_modules(wsnursery.__path__)),
]
PUBLIC = [name for name in MODULES if not name.partition(".")[2].startswith("_")]


def public_names(module: str) -> list[str]:
    """What a module gives: its `__all__`, else what it defines or names `X as X`."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    names: list[str] = []
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name("__all__")], value=value):
                return list(ast.literal_eval(value))
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                names.append(node.name)
            case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
                names.append(name)
            case ast.ImportFrom():
                names += [alias.name for alias in node.names if alias.name == alias.asname]
            case _:
                pass
    return sorted({name for name in names if not name.startswith("_")})


def found(name: str) -> Any:
    """The object of a dotted name; skips the test if it needs what is not installed."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as exc:
        pytest.skip(str(exc))


def documented_names() -> list[str]:
    """What the page has, by directives of its own or with a whole module."""
    modules = WHOLE_MODULE.findall(PAGE)
    with_modules = [f"{module}.{name}" for module in modules for name in public_names(module)]
    return DIRECTIVE.findall(PAGE) + with_modules


def test_every_documented_name_is_there_once() -> None:
    documented = documented_names()
    assert len(documented) == len(set(documented))


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_on_the_page(module: str) -> None:
    documented = set(documented_names())
    # One that is imported from another public module stands there.
    elsewhere = {id(found(name)) for name in documented if "testing" not in name}
    missing = [
        name
        for name in public_names(module)
        if f"{module}.{name}" not in documented and id(found(f"{module}.{name}")) not in elsewhere
    ]
    assert missing == []


def members(documented: Any) -> dict[str, Any]:
    """A function itself, or the methods of a class that are ours to promise something about.

    What a user writes is not (a protocol, a fault), nor what only fills in a base class's method.
    """
    if not inspect.isclass(documented):
        return {"": documented}
    if getattr(documented, "_is_protocol", False) or issubclass(documented, testing.Fault):
        return {}
    return {name: member for name, member in vars(documented).items() if not name.startswith("_")}


@pytest.mark.parametrize("name", documented_names())
def test_a_coroutine_says_whether_it_waits(name: str) -> None:
    for attribute, member in members(found(name)).items():
        if inspect.iscoroutinefunction(inspect.unwrap(member)):
            docstring = inspect.getdoc(member) or ""
            assert re.search(r"(?i)checkpoint|`\w+` otherwise", docstring), attribute
