"""A headless Chromium, driven through its DevTools port: no more than the tests need."""

import base64
import http.client
import itertools
import json
import shutil
import subprocess
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from websockets.sync.client import ClientConnection, connect

from tests.servers._harness import kill_group, wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome")

FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",  # every tab counts as the one in front
    "--disable-renderer-backgrounding",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--remote-debugging-port=0",
    "about:blank",
)


def find_browser() -> str | None:
    """The path of a Chromium, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class NavigatedError(Exception):
    """The page in which something was being evaluated is no longer there."""


class Page(ABC):
    """A page in any browser."""

    @abstractmethod
    def evaluate(self, expression: str, timeout: float = 30) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""

    def wait_for(self, condition: str, timeout: float = 10) -> None:
        """Wait until a JavaScript expression is true."""

        def holds() -> bool:
            try:
                return bool(self.evaluate(condition))
            except NavigatedError:
                return False

        assert wait_until(holds, timeout), (
            f"not in {timeout} s: {condition}\n{self.evaluate('document.body.innerText')}"
        )


class Tab(Page):
    """One tab with a page in a process of its own."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._ids = itertools.count(1)
        self._events: list[dict[str, Any]] = []

    def evaluate(self, expression: str, timeout: float = 30) -> Any:
        answer = self._call(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True},
            timeout=timeout,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the page stand still inside the block, as in a debugger: it reads nothing either."""
        self._call("Debugger.enable")
        self._call("Debugger.pause")
        try:
            yield
        finally:
            self._call("Debugger.disable")

    def watch_console(self) -> None:
        """Collect from now on what `complaints` returns, beginning with what there is already."""
        for domain in ("Runtime", "Log"):
            self._call(f"{domain}.enable")

    def complaints(self) -> list[str]:
        """What the page's console says in red: exceptions, failed requests, broken policies."""
        self._call("Runtime.getIsolateId")  # the answer comes behind the events
        return [text for event in self._events if (text := _complaint(event))]

    def look_as(self, width: int, height: int, scheme: str = "light") -> None:
        """Give the page a window of this size, in CSS pixels, and a colour scheme."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        self._call(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )

    def screenshot(self, selector: str) -> bytes:
        """An element as PNG, in its whole size."""
        clip = self.evaluate(
            f"(({{x, y, width, height}}) => ({{x: x + scrollX, y: y + scrollY, width, height}}))"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        answer = self._call(
            "Page.captureScreenshot",
            {"format": "png", "clip": {**clip, "scale": 1}, "captureBeyondViewport": True},
            timeout=30,
        )
        return base64.b64decode(answer["data"])

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key, such as ``"Tab"``, ``" "`` or ``"a"``."""
        code, text = _KEYS.get(key, (ord(key[0].upper()), key))
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        self._call("Input.dispatchKeyEvent", {**event, "type": "keyDown", "text": text})
        self._call("Input.dispatchKeyEvent", {**event, "type": "keyUp"})

    def _call(
        self, method: str, parameters: dict[str, Any] | None = None, *, timeout: float = 10
    ) -> dict[str, Any]:
        number = next(self._ids)
        command = {"id": number, "method": method, "params": parameters or {}}
        self._devtools.send(json.dumps(command))
        while True:
            answer = json.loads(self._devtools.recv(timeout=timeout))
            if answer.get("id") == number:
                if "error" in answer:
                    raise NavigatedError(answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)


_KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "ArrowDown": (40, ""),
    "ArrowUp": (38, ""),
    " ": (32, " "),
}
"""Windows' codes of keys, and the text that they type."""


def _complaint(event: dict[str, Any]) -> str | None:
    """What an event of the DevTools says in red, if it does."""
    parameters = event.get("params", {})
    match event.get("method"):
        case "Runtime.exceptionThrown":
            return str(parameters["exceptionDetails"])
        case "Runtime.consoleAPICalled" if parameters["type"] == "error":
            return str(parameters["args"])
        case "Log.entryAdded" if parameters["entry"]["level"] == "error":
            return str(parameters["entry"])
        case _:
            return None


class Browser:
    """A running browser."""

    def __init__(self, port: int) -> None:
        self._port = port

    @contextmanager
    def tab(self, url: str) -> Iterator[Tab]:
        """Open a page in a new tab, and close it at the end."""
        target = json.loads(self._request("PUT", f"/json/new?{quote(url, safe='')}"))
        try:
            with connect(target["webSocketDebuggerUrl"], max_size=None) as devtools:
                tab = Tab(devtools)
                tab.wait_for("location.href != 'about:blank' && document.readyState == 'complete'")
                yield tab
        finally:
            self._request("GET", f"/json/close/{target['id']}")

    def _request(self, method: str, path: str) -> bytes:
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)) as connection:
            connection.request(method, path)
            return connection.getresponse().read()


@contextmanager
def browser(path: str) -> Iterator[Browser]:
    """Start a browser with an empty profile, and end it with everything that it has started."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [path, f"--user-data-dir={profile}", *FLAGS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        port = Path(profile, "DevToolsActivePort")
        try:
            assert wait_until(lambda: port.exists() and "/" in port.read_text(), 30)
            yield Browser(int(port.read_text().split()[0]))
        finally:
            kill_group(process)


PAGE = """<!doctype html><meta charset="utf-8"><title>A client</title><body><script>
const next = type => new Promise(resume => ws.addEventListener(type, resume, {once: true}));
const dial = async url => {
    window.ws = new WebSocket(url, ["chat"]);
    ws.binaryType = "arraybuffer";
    await new Promise((resume, fail) => { ws.onopen = resume; ws.onerror = fail; });
    return [ws.protocol, ws.extensions];
};
const ask = async message => { ws.send(message); return (await next("message")).data; };
const closed = async () => {
    const event = await next("close");
    return [event.code, event.reason, event.wasClean];
};
const megabyte = Uint8Array.from({length: 1024 * 1024}, (_, index) => index * 7 % 251);
const sameMegabyte = async () => {
    const answer = new Uint8Array(await ask(megabyte));
    return answer.length == megabyte.length && answer.every((byte, at) => byte == megabyte[at]);
};
</script>"""


class PageHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        if self.path != "/kept":
            # Else the page lives on, behind the next one, with its WebSocket open.
            self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
        pass


@contextmanager
def served_page() -> Iterator[str]:
    """The address of `PAGE`, on loopback: other pages may not connect there unasked."""
    # Threads, because a browser opens connections that it may never use.
    with ThreadingHTTPServer(("127.0.0.1", 0), PageHandler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/"
        finally:
            http.shutdown()
            thread.join()
