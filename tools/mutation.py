"""Change the core in a thousand small ways and see that a test fails for each.

Run it from a checkout, after `pip install -e '.[all]' -r requirements/mutation.txt`::

    python tools/mutation.py                   # all modules, then docs/mutation.md
    python tools/mutation.py _engine.states    # some modules; the page stays as it is

The changes are cosmic-ray's. No file is changed: a fork of this process imports the mutated source
and runs the tests that tools/mutation.toml gives the module. The results are kept in `.mutation`,
so it may be interrupted: only new code runs again, and the survivors for which tools/mutation.toml
has no reason.
"""

import argparse
import ast
import gc
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NoReturn

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".mutation"
PAGE = ROOT / "docs/mutation.md"
CONFIG: dict[str, Any] = tomllib.loads((ROOT / "tools/mutation.toml").read_text(encoding="utf-8"))

# They have no type information.
cosmic_ray: Any = importlib.import_module("cosmic_ray")
parso: Any = importlib.import_module("parso")
for part in ("ast", "mutating", "plugins"):
    importlib.import_module(f"cosmic_ray.{part}")

# Seconds of processor time for one test, and of the clock for all of them; far more than they need.
TEST_LIMIT, RUN_LIMIT = 5, 300
# What the tests use is imported once, here, and not in every fork; not what is mutated.
PLUGINS = {
    "anyio": "anyio.pytest_plugin",
    "hypothesispytest": "_hypothesis_pytestplugin",
    "timeout": "pytest_timeout",
}
PRELOADED = [
    *("anyio._backends._asyncio", "anyio._backends._trio", "trio.testing"),
    *("hypothesis.strategies", "starlette.applications", *PLUGINS.values()),
]


class DeleteCall:
    """An operator like cosmic-ray's that leaves out a statement which is nothing but a call."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """Where this can be done to a node of the tree."""
        if node.type == "simple_stmt":
            code = " ".join(node.get_code(include_prefix=False).split())
            if re.fullmatch(r"(await )?[\w.]+\(.*\)", code):
                yield node.start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """Make the statement do nothing."""
        call = node.children[0]
        node.children[0] = parso.python.tree.Keyword(
            "pass", call.start_pos, call.get_first_leaf().prefix
        )
        return node


def operators() -> Iterator[Any]:
    """Every operator that the configuration names."""
    wanted = re.compile("|".join(f"(?:{operator})" for operator in CONFIG["operators"]))
    for name in cosmic_ray.plugins.operator_names():
        if wanted.fullmatch(name.removeprefix("core/")):
            yield cosmic_ray.plugins.get_operator(name)()
    yield DeleteCall()


@dataclass(frozen=True)
class Mutant:
    """One change of a module."""

    module: str
    line: int
    before: str
    after: str
    source: str
    place: tuple[str, int, int]
    """The class or function around it, as it was, and the line and column there."""

    @property
    def key(self) -> str:
        """What its result is kept under: it holds as long as what is around stays as it is."""
        of = repr((self.module, self.place, self.after))
        return hashlib.sha256(of.encode()).hexdigest()[:16]

    @property
    def because(self) -> str | None:
        """Why it may live, as tools/mutation.toml says."""
        for entry in CONFIG["survivor"]:
            if all(entry[name] == getattr(self, name) for name in ("module", "before", "after")):
                return str(entry["because"])
        return None


def mutants(module: str) -> Iterator[Mutant]:
    """Every change that the program could notice, in the order of the lines."""
    source = path_of(module).read_text(encoding="utf-8")
    tree = ast.parse(source)
    inert = set(inert_positions(tree))
    mutate = cosmic_ray.mutating.MutationVisitor.mutate_code
    found: list[Mutant] = []
    for operator in operators():
        places = (
            place
            for node in cosmic_ray.ast.ast_nodes(cosmic_ray.ast.get_ast(source))
            for place in operator.mutation_positions(node)
        )
        for occurrence, (start, _) in enumerate(places):
            if tuple(start) not in inert:
                mutated = mutate(source, operator, occurrence)
                lines = changed_lines(source, mutated)
                around = around_line(tree, source, start[0])
                place = (around[1], start[0] - around[0], start[1])
                found.append(Mutant(module, start[0], *lines, source=mutated, place=place))
    yield from sorted(found, key=lambda mutant: mutant.line)


def around_line(tree: ast.Module, source: str, line: int) -> tuple[int, str]:
    """The function or the statement that holds a line: where it begins, and what it is."""
    outer = node = next(node for node in tree.body if line <= (node.end_lineno or node.lineno))
    if isinstance(node, ast.ClassDef):
        inside = [part for part in node.body if part.lineno <= line <= (part.end_lineno or 0)]
        node = (inside or [node])[0]
    lines = source.splitlines()
    return node.lineno, "\n".join(
        [lines[outer.lineno - 1], *lines[node.lineno - 1 : node.end_lineno]]
    )


def path_of(module: str) -> Path:
    """The file of a module, which is named by its dotted place in the package."""
    return ROOT.joinpath("wsnursery", *module.split(".")).with_suffix(".py")


def inert_positions(tree: ast.AST) -> Iterator[tuple[int, int]]:
    """The positions of what makes no difference when the program runs."""
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        match node:
            case ast.AnnAssign() | ast.arg():
                parts = [node.annotation]
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                parts = [node.returns, *filter(is_inert, node.decorator_list)]
            case ast.ClassDef():
                parts = [*filter(is_inert, node.decorator_list)]
            case ast.If(test=ast.Name("TYPE_CHECKING")):
                parts = [node]
            case ast.keyword(arg="slots"):
                parts = [node.value]
            case ast.Constant(value) if value in CONFIG["sizes"]:
                parts = [node]
            case _:
                pass
        for part in parts:
            if isinstance(part, ast.expr | ast.stmt):
                yield from positions(part)


def is_inert(decorator: ast.expr) -> bool:
    """Whether a decorator does nothing at run time."""
    return isinstance(decorator, ast.Name) and decorator.id in CONFIG["inert-decorators"]


def positions(node: ast.expr | ast.stmt) -> Iterator[tuple[int, int]]:
    """All positions inside a node, and the one before it, where a decorator has its @."""
    last_line = node.end_lineno or node.lineno
    for line in range(node.lineno, last_line + 1):
        first = node.col_offset - 1 if line == node.lineno else 0
        last = node.end_col_offset if line == last_line else None
        yield from ((line, column) for column in range(first, last or 200))


def changed_lines(before: str, after: str) -> tuple[str, str]:
    """The lines that differ, before and after, each on one line."""
    old, new = before.splitlines(), after.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return " ".join(" ".join(old).split()), " ".join(" ".join(new).split())


@dataclass
class Mutated(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports one module of the package from another source."""

    module: str
    source: str

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Be the loader of that module."""
        if fullname != f"wsnursery.{self.module}":
            return None
        return importlib.util.spec_from_file_location(fullname, path_of(self.module), loader=self)

    def get_source(self, fullname: str) -> str:
        """The other source."""
        return self.source

    def get_code(self, fullname: str) -> CodeType:
        """Compiled each time: what is kept on the disk is the code of the file."""
        return compile(self.source, path_of(self.module), "exec", dont_inherit=True)


class Limit:
    """A pytest plugin that ends the process when one test takes too much of the processor."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Wind up the clock again."""
        signal.setitimer(signal.ITIMER_PROF, TEST_LIMIT)


def run_tests(module: str, source: str, output: Path) -> NoReturn:
    """In a fork: the tests with that source of the module. The status says how they ended."""
    os.setsid()
    os.nice(10)
    os.dup2(os.open(output, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 1)
    os.dup2(1, 2)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    sys.meta_path.insert(0, Mutated(module, source))
    options = [
        "-x",
        "-q",
        "--timeout=30",
        "--assert=plain",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
    ]
    options += [f"-p{plugin}" for plugin in (*PLUGINS, "wsnursery")]
    options += [f"--basetemp={output.with_suffix('.tmp')}"]
    status = 0
    for tests in CONFIG["modules"][module]:
        if not status:
            status = int(pytest.main([*options, tests], plugins=[Limit()]))
    os._exit(status)


@dataclass
class Fork:
    """A run of the tests in a process of its own."""

    pid: int
    output: Path
    deadline: float
    key: str

    @classmethod
    def start(cls, module: str, source: str, key: str) -> "Fork":
        """Run the tests with that source."""
        output = WORK / "running" / key
        output.parent.mkdir(parents=True, exist_ok=True)
        pid = os.fork()
        if pid == 0:
            run_tests(module, source, output)
        return cls(pid, output, time.monotonic() + RUN_LIMIT, key)

    def passed(self) -> bool | None:
        """Whether the tests passed; `None` while they run."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            if time.monotonic() > self.deadline:
                os.killpg(self.pid, signal.SIGKILL)
            return None
        shutil.rmtree(self.output.with_suffix(".tmp"), ignore_errors=True)
        return os.waitstatus_to_exitcode(status) == pytest.ExitCode.OK


@dataclass
class Module:
    """A module with its mutants, and what is known of them."""

    name: str
    mutants: list[Mutant]
    survived: dict[str, bool] = field(default_factory=dict[str, bool])
    """By key; what is missing has not run."""

    @classmethod
    def load(cls, name: str) -> "Module":
        """Make the mutants, and read what earlier runs have found."""
        module = cls(name, list(mutants(name)))
        if module.file.exists():
            known = json.loads(module.file.read_text(encoding="utf-8"))
            module.survived = {m.key: known[m.key] for m in module.mutants if m.key in known}
        return module

    @property
    def file(self) -> Path:
        """Where the results are kept."""
        return WORK / f"{self.name}.json"

    @property
    def survivors(self) -> list[Mutant]:
        """The mutants that no test noticed."""
        return [mutant for mutant in self.mutants if self.survived.get(mutant.key)]

    @property
    def killed(self) -> int:
        """The number of those that a test noticed."""
        return sum(self.survived.get(mutant.key) is False for mutant in self.mutants)

    @property
    def missing(self) -> int:
        """The number of those that have not run."""
        return sum(mutant.key not in self.survived for mutant in self.mutants)

    def unknown(self, *, again: bool) -> list[Mutant]:
        """The mutants to run: the new ones, and survivors without a reason."""
        explained = [m.key for m in self.survivors if m.because is not None and not again]
        known = {key for key, survived in self.survived.items() if not survived}.union(explained)
        return [mutant for mutant in self.mutants if mutant.key not in known]

    def run(self, workers: int, *, again: bool) -> None:
        """Find out about them."""
        to_run = self.unknown(again=again)
        if to_run:
            self.check_unmutated()
        running: list[Fork] = []
        for number, mutant in enumerate(to_run, 1):
            running.append(Fork.start(self.name, mutant.source, mutant.key))
            print(f"\r{self.name}: {number} of {len(to_run)} ", end="", flush=True)
            self.wait(running, 0 if mutant is to_run[-1] else workers - 1)
        print()

    def wait(self, running: list[Fork], at_most: int) -> None:
        """Wait until no more runs than that go on, and write down how the others ended."""
        while len(running) > at_most:
            for fork in list(running):
                passed = fork.passed()
                if passed is not None:
                    running.remove(fork)
                    self.survived[fork.key] = passed
                    self.file.write_text(json.dumps(self.survived), encoding="utf-8")
            time.sleep(0.02)

    def check_unmutated(self) -> None:
        """Without a mutation the tests must pass."""
        fork = Fork.start(self.name, path_of(self.name).read_text(encoding="utf-8"), self.name)
        while (passed := fork.passed()) is None:
            time.sleep(0.02)
        if not passed:
            raise SystemExit(f"The tests fail without a mutation; see {fork.output}")


INTRODUCTION = """\
# Mutation score

Do the tests notice a bug? The tool changes the core in one place: for instance, it turns a `<`
into a `<=`, makes a number one larger, adds a `not`, or removes a call. Then it runs the tests of
that module. A change that no test notices has *survived*. Either an assertion is missing, or the
change makes no difference. In the second case the reason is given below.

```console
$ pip install -e '.[all]' -r requirements/mutation.txt && python tools/mutation.py
```

The mutants are those of [cosmic-ray](https://cosmic-ray.readthedocs.io/), plus one kind of our own,
which removes calls. `tools/mutation.toml` lists the operators, and what is not mutated and why.
The command writes this page. It takes half an hour, so it is not part of CI.
"""


def page(modules: list[Module]) -> str:
    """The page of the documentation."""
    rows: dict[str, tuple[int, ...]] = {
        m.name: (len(m.mutants), m.killed, len(m.survivors)) for m in modules
    }
    rows["**all**"] = tuple(map(sum, zip(*rows.values(), strict=True)))
    lines = ["| module | mutants | killed | survived | score |", "|---|---|---|---|---|"]
    for name, (count, killed, survived) in rows.items():
        lines += [f"| {name} | {count} | {killed} | {survived} | {percent(killed, count)} |"]
    lines += ["", "## The survivors"]
    for module in modules:
        if module.survivors:
            lines += ["", f"### {module.name}", ""]
        for mutant in module.survivors:
            lines += [f"- `{mutant.before}`\n  → `{mutant.after}`:\n  {mutant.because}."]
    return "\n".join([INTRODUCTION, *lines, ""])


def percent(killed: int, count: int) -> str:
    """As in the page."""
    return f"{100 * killed / count:.1f} %" if count else "-"


def report(module: Module) -> None:
    """Print how a module came off."""
    score = percent(module.killed, len(module.mutants))
    print(f"{module.name}: {module.killed} of {len(module.mutants)} killed ({score})", end="")
    print(f", {module.missing} not run" if module.missing else "")
    for mutant in module.survivors:
        print(f"  line {mutant.line}: {mutant.before}\n    -> {mutant.after}: {mutant.because}")


def prepare() -> None:
    """What all forks share."""
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(WORK / "bytecode")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    hypothesis.settings.register_profile("mutation", derandomize=True, deadline=None, database=None)
    hypothesis.settings.load_profile("mutation")
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # a fork's garbage collector need not look through all that


def main() -> int:
    """Run, report, and return 1 if a mutant was not run or survives without a reason."""
    arguments = argparse.ArgumentParser(description="Mutate the core and run its tests.")
    arguments.add_argument("modules", nargs="*", metavar="MODULE")
    arguments.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--again", action="store_true", help="run explained survivors, too")
    arguments.add_argument("--report", action="store_true", help="run nothing")
    options = arguments.parse_args()
    modules = [Module.load(name) for name in options.modules or CONFIG["modules"]]
    if not options.report:
        prepare()
        for module in modules:
            module.run(options.workers, again=options.again)
    for module in modules:
        report(module)
    if not options.modules:
        PAGE.write_text(page(modules), encoding="utf-8")
    explained = all(mutant.because for module in modules for mutant in module.survivors)
    return int(not explained or any(module.missing for module in modules))


if __name__ == "__main__":
    sys.exit(main())
