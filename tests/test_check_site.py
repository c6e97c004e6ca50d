"""The check of the built documentation finds what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "check_site.py"

GOOD = """<link rel="stylesheet" href="style.css"><h1 id="top">Good</h1>
<a href="#top">up</a> <a href="other.html#there">there</a> <a href="https://example.org/">away</a>
<img src="picture.svg" alt="a picture">"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site in which everything is right."""
    (tmp_path / "index.html").write_text(GOOD)
    (tmp_path / "other.html").write_text('<a name="there" href="index.html">back</a>')
    (tmp_path / "style.css").write_text("body { background: url(picture.svg) }")
    (tmp_path / "picture.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return tmp_path


def check(site: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, TOOL, site, *options],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_nothing_is_wrong(site: Path) -> None:
    assert check(site) == (0, "2 pages: all links lead somewhere, nothing is foreign\n")
    assert check(site, "--external") == (0, "https://example.org/\n")


def test_what_is_wrong(site: Path) -> None:
    (site / "bad.html").write_text(
        '<a href="gone.html">1</a><a href="index.html#gone">2</a><a href="#gone">3</a>'
        '<script src="https://cdn.example/x.js"></script><img src="//cdn.example/x.png">'
    )
    (site / "bad.css").write_text('@import "https://fonts.example/x.css";')
    status, said = check(site)
    assert status == 1
    assert said.splitlines() == [
        "bad.html loads https://cdn.example/x.js",
        "bad.html loads //cdn.example/x.png",
        "bad.html links to gone.html: there is no such file",
        "bad.html links to index.html#gone: there is no such anchor",
        "bad.html links to #gone: there is no such anchor",
        "bad.css loads https://fonts.example/x.css",
    ]


def test_nothing_was_built(tmp_path: Path) -> None:
    status, said = check(tmp_path)
    assert status == 1
    assert "has no pages" in said
