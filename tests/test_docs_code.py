"""The code in the README and in the documentation runs.

The blocks of a page are executed in order, in one namespace, as a reader would type them. A block
that defines an ASGI `app` is driven by a client that says hello and leaves.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"^```(?:python|\{code-block\} python\n(?::\w+:[^\n]*\n)+)\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PATHS = {"frameworks.md": "/rooms/lobby"}
"""Where the application of a page is, if it is not at the root."""

DEFINES_APP = re.compile(r"^(async def app\b|app = )", re.MULTILINE)


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """The Python of a page: the number of its line in front, and the source."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        yield text[: match.start(1)].count("\n"), match[1]


def run(page: Path, last_line: float = float("inf")) -> dict[str, Any]:
    """Execute the blocks of a page up to a line; a traceback shows the lines of the page."""
    namespace: dict[str, Any] = {}
    for line, source in blocks(page):
        if line <= last_line and "from app import" not in source:  # see test_tutorial.py
            tree = ast.increment_lineno(ast.parse(source), line)
            exec(compile(tree, str(page), "exec"), namespace)
    return namespace


PAGES_WITH_CODE = [page for page in PAGES if any(blocks(page))]
APPS = [
    pytest.param((page, line), id=f"{page.name}:{line}")
    for page in PAGES
    for line, source in blocks(page)
    if DEFINES_APP.search(source)
]


SCOPE = {
    "type": "websocket",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "query_string": b"",
    "headers": [],
    "subprotocols": [],
    "extensions": {"websocket.http.response": {}},
}


class Visitor:
    """An ASGI server with one client: it connects, says hello when accepted, and leaves."""

    def __init__(self, path: str) -> None:
        self.scope = {**SCOPE, "path": path, "raw_path": path.encode()}
        self.sent: list[dict[str, Any]] = []
        self._answered = anyio.Event()
        self._calls = 0

    async def receive(self) -> dict[str, Any]:
        self._calls += 1
        if self._calls == 1:
            return {"type": "websocket.connect"}
        await self._answered.wait()
        if self._calls == 2 and self.sent[0]["type"] == "websocket.accept":
            return {"type": "websocket.receive", "text": '"hello"'}
        await anyio.wait_all_tasks_blocked()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(self, event: dict[str, Any]) -> None:
        await anyio.lowlevel.checkpoint()
        self.sent.append(event)
        self._answered.set()


@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: page.name)
def test_blocks_run(page: Path) -> None:
    run(page)


@pytest.fixture(params=APPS)
def app(request: pytest.FixtureRequest) -> tuple[Any, str]:
    """An application of a page and its path; the page may run an event loop, so none runs yet."""
    page, line = request.param
    return run(page, line)["app"], PATHS.get(page.name, "/")


async def test_app_serves_a_client(app: tuple[Any, str]) -> None:
    application, path = app
    visitor = Visitor(path)
    with anyio.fail_after(5):
        await application(visitor.scope, visitor.receive, visitor.send)
    assert visitor.sent[0]["type"] in {"websocket.accept", "websocket.http.response.start"}
