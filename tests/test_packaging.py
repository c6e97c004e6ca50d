"""pyproject.toml and the requirement files: what is published, and what developers install."""

import re
import tomllib
from pathlib import Path

import pytest

import wsnursery

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", wsnursery.__version__)


def test_the_extras_are_those_of_users() -> None:
    """Each module that needs one names it; `all` is all of them."""
    others = [name for name in EXTRAS if name != "all"]
    assert EXTRAS["all"] == [f"wsnursery[{','.join(others)}]"]
    assert "test" not in EXTRAS


def test_the_documentation_is_where_read_the_docs_publishes_it() -> None:
    assert PROJECT["urls"] == {"Documentation": f"https://{PROJECT['name']}.readthedocs.io/"}
    settings = (ROOT / ".readthedocs.yaml").read_text(encoding="utf-8")
    assert "configuration: docs/conf.py" in settings


def test_the_console_script_is_the_module() -> None:
    assert PROJECT["scripts"] == {"wsnursery": "wsnursery.__main__:main"}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_a_requirement_file_refers_to_files_that_exist(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    for name in (line.removeprefix("-r ") for line in lines if line.startswith("-r ")):
        assert path.with_name(name) in REQUIREMENTS


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]


def test_every_install_line_works_without_a_release() -> None:
    """Until there is one, the package comes from a checkout, by its path."""
    lines = [
        line
        for page in PAGES
        for line in re.findall(
            r"^\$ (.*pip install.*)$", page.read_text(encoding="utf-8"), re.MULTILINE
        )
    ]
    assert len(lines) > 5
    assert [line for line in lines if re.search(r"['\s]wsnursery\b", line)] == []


def test_every_command_of_the_repository_names_files_that_exist() -> None:
    named: set[str] = set()
    for path in PAGES:
        named |= set(re.findall(r"requirements/[\w.-]+", path.read_text(encoding="utf-8")))
    assert named
    assert {name.rstrip(".") for name in named} <= {
        f"requirements/{path.name}" for path in REQUIREMENTS
    }
