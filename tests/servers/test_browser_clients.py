"""A page in a real browser with ours on a real server."""

import json

import pytest

from tests.servers._browser import Browser, Tab
from tests.servers._harness import SERVERS, Running, Server, wait_until
from tests.servers._libraries import REASON


@pytest.fixture(scope="module")
def row() -> Server:
    return SERVERS["hypercorn-trio"]


def dial(tab: Tab, url: str) -> None:
    protocol, extensions = tab.evaluate(f"dial({json.dumps(url)})")
    assert protocol == "chat"
    assert extensions.startswith("permessage-deflate")


# contract: S1, R1
def test_page_that_talks_and_closes(server: Running, chromium: Browser, page: str) -> None:
    connection = server.new_id()
    with chromium.tab(page) as tab:
        dial(tab, server.url("/ours/chat", connection))
        for text in (REASON, ""):
            assert tab.evaluate(f"ask({json.dumps(text)})") == text
        assert tab.evaluate("sameMegabyte()") is True
        ended = tab.evaluate(f"ws.close(4001, {json.dumps(REASON)}); closed()")
        assert ended == [4001, REASON, True]
    assert server.wait_for(connection, "ended")["error"] is None


# contract: C1
def test_page_gets_the_reason(server: Running, chromium: Browser, page: str) -> None:
    connection = server.new_id()
    with chromium.tab(page) as tab:
        dial(tab, server.url("/ours/dismiss", connection))
        ended = tab.evaluate(f"ws.send({json.dumps(REASON)}); closed()")
        assert ended == [4002, REASON, True]
    assert server.wait_for(connection, "ended")["error"] is None


# contract: D2
@pytest.mark.parametrize(
    "leave",
    ["location.href = 'about:blank'", "location.reload()", None],
    ids=["navigate", "reload", "close the tab"],
)
def test_page_that_goes_away(
    server: Running, chromium: Browser, page: str, leave: str | None
) -> None:
    connection = server.new_id()
    with chromium.tab(page) as tab:
        url = json.dumps(server.url("/ours/idle", connection))
        tab.evaluate(f"window.ws = new WebSocket({url}); next('open').then(() => 0)")
        if leave is not None:
            tab.evaluate(f"setTimeout(() => {{ {leave} }}); 0")
            server.wait_for(connection, "ended")
    assert server.wait_for(connection, "ended")["error"] == "WebSocketDisconnected"


def open_and_leave(tab: Tab, url: str, script: str = "") -> None:
    """Open a WebSocket in a page, then follow a link to another one."""
    tab.evaluate(
        f"window.ws = new WebSocket({json.dumps(url)});"
        "ws.onclose = event => { window.closed_with = event.code }; next('open').then(() => 0)"
    )
    tab.evaluate(f"{script}; setTimeout(() => {{ location.href = '/next' }}); 0")
    tab.wait_for("location.pathname == '/next'")


# docs/browsers.md says so.
def test_page_that_is_kept_for_the_way_back(server: Running, chromium: Browser, page: str) -> None:
    connection = server.new_id()
    with chromium.tab(f"{page}kept") as tab:
        open_and_leave(tab, server.url("/ours/idle", connection))
        assert not wait_until(lambda: server.records(connection, "ended"), 1)
        tab.evaluate("setTimeout(() => history.back()); 0")
        tab.wait_for("location.pathname == '/kept' && window.closed_with == 1006")
    assert server.wait_for(connection, "ended")["error"] == "WebSocketDisconnected"


# docs/browsers.md says so.
def test_page_that_closes_when_it_is_hidden(server: Running, chromium: Browser, page: str) -> None:
    connection = server.new_id()
    with chromium.tab(f"{page}kept") as tab:
        url = server.url("/ours/idle", connection)
        open_and_leave(tab, url, "addEventListener('pagehide', () => ws.close())")
        assert server.wait_for(connection, "ended")["error"] == "WebSocketDisconnected"
