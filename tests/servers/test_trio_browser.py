"""A page in a real browser with our own server over trio-websocket, without ASGI."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.servers._browser import NAMES, Browser, Tab, browser, find_browser
from tests.servers._reports import Record
from tests.servers._trio_server import REASON, TrioServer, trio_server

CHROMIUM = find_browser()

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no Chromium here: install one of {', '.join(NAMES)}"
)

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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with browser(CHROMIUM) as started:
        yield started


class PageHandler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        # Else the page lives on, behind the next one, with its WebSocket open.
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base
        pass


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The page's address: on loopback, for others may not connect there without asking the user."""
    # Threads, for a browser opens connections that it may never use.
    with ThreadingHTTPServer(("127.0.0.1", 0), PageHandler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/"
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[TrioServer]:
    with trio_server() as started:
        yield started


def dial(tab: Tab, url: str) -> None:
    # trio-websocket turns permessage-deflate down.
    assert tab.evaluate(f"dial({json.dumps(url)})") == ["chat", ""]


def end_of(server: TrioServer, connection: str) -> Record:
    """How the handler saw the end, once its child has ended too."""
    server.wait_for(connection, "child ended")
    return server.wait_for(connection, "ended")


# contract: S1, R1, C4
def test_page_that_talks_and_closes(server: TrioServer, chromium: Browser, page: str) -> None:
    connection = server.new_id()
    with chromium.tab(page) as tab:
        dial(tab, server.url("/echo", connection))
        for text in (REASON, ""):
            assert tab.evaluate(f"ask({json.dumps(text)})") == text
        assert tab.evaluate("sameMegabyte()") is True
        ended = tab.evaluate(f"ws.close(4001, {json.dumps(REASON)}); closed()")
        assert ended == [4001, REASON, True]
        end = end_of(server, connection)
    assert (end["code"], end["reason"]) == (4001, REASON)


# contract: D6
def test_page_that_is_told_why(server: TrioServer, chromium: Browser, page: str) -> None:
    connection = server.new_id()
    with chromium.tab(page) as tab:
        dial(tab, server.url("/close", connection))
        assert tab.evaluate("ws.send('go'); closed()") == [4002, REASON, True]
        end = end_of(server, connection)
    assert (end["code"], end["reason"]) == (4002, REASON)


# contract: D1
@pytest.mark.parametrize(
    "leave",
    ["location.href = 'about:blank'", "location.reload()", None],
    ids=["navigate", "reload", "close the tab"],
)
def test_page_that_goes_away(
    server: TrioServer, chromium: Browser, page: str, leave: str | None
) -> None:
    connection = server.new_id()
    with chromium.tab(page) as tab:
        dial(tab, server.url("/echo", connection))
        if leave is not None:
            tab.evaluate(f"setTimeout(() => {{ {leave} }}); 0")
            end_of(server, connection)
    end = end_of(server, connection)
    assert (end["code"], end["reason"]) == (1001, "")
