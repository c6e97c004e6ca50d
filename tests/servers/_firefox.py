"""A headless Firefox, driven through WebDriver BiDi, which it speaks itself.

See https://www.w3.org/TR/webdriver-bidi/. It does no more than the tests need.
"""

import itertools
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.servers._browser import Page
from tests.servers._harness import kill_group

NAMES = ("firefox-esr", "firefox")


def find_firefox() -> str | None:
    """The path of a Firefox, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class FirefoxPage(Page):
    """A page in a tab of its own."""

    def __init__(self, bidi: ClientConnection, url: str) -> None:
        self._bidi = bidi
        self._ids = itertools.count(1)
        self._call("session.new", {"capabilities": {}})
        self._context = self._call("browsingContext.create", {"type": "tab"})["context"]
        place = {"context": self._context, "url": url, "wait": "complete"}
        self._call("browsingContext.navigate", place)

    def evaluate(self, expression: str, timeout: float = 30) -> Any:
        answer = self._call(
            "script.evaluate",
            {
                # Values come back in a form of their own, but a string is a string.
                "expression": f"(async () => JSON.stringify(await ({expression})) ?? 'null')()",
                "target": {"context": self._context},
                "awaitPromise": True,
            },
            timeout,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def _call(self, method: str, parameters: dict[str, Any], timeout: float = 30) -> Any:
        number = next(self._ids)
        self._bidi.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._bidi.recv(timeout=timeout))
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]


@contextmanager
def in_firefox(path: str, url: str) -> Iterator[FirefoxPage]:
    """Open a page in a Firefox with an empty profile, and end it with all that it has started."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        subprocess.Popen(
            [path, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port=0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        ) as process,
    ):
        try:
            assert process.stderr is not None
            found = (re.search(r"BiDi listening on (ws://\S+)", line) for line in process.stderr)
            address = next(filter(None, found))[1]
            with connect(f"{address}/session", max_size=None) as bidi:
                yield FirefoxPage(bidi, url)
        finally:
            kill_group(process)
