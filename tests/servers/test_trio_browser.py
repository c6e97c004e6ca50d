"""A page in a real browser with our own server over trio-websocket, without ASGI."""

import json
from collections.abc import Iterator

import pytest

from tests.servers._browser import Browser, Tab
from tests.servers._libraries import REASON
from tests.servers._reports import Record
from tests.servers._trio_server import TrioServer, trio_server


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
def test_page_gets_the_reason(server: TrioServer, chromium: Browser, page: str) -> None:
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
