"""The chat example in a real browser, with a tab that stops reading."""

from collections.abc import Iterator

import pytest

from tests.servers._browser import NAMES, Browser, browser, find_browser
from tests.servers._harness import Running, Server, running

CHROMIUM = find_browser()

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason=f"no Chromium here: install one of {', '.join(NAMES)}"
)

# Random data, because the browser and the server compress messages.
SAY_UNTIL_BOB_IS_GONE = """(async () => {
    const noise = () => btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(5000))));
    window.numbers = [];
    ws.addEventListener("message", event => {
        const {at, said} = JSON.parse(event.data);
        if (said) numbers.push(Number(at.split(".")[1]));
    });
    let said = 0;
    while (people.includes("Bob") && said < 5000) {
        ws.send(noise());
        said += 1;
        // A tab that reads may not fall behind itself: its own echo is the measure.
        while (numbers.length < said - 30 && ws.readyState == 1)
            await new Promise(resume => setTimeout(resume));
    }
    while (numbers.length < said && ws.readyState == 1)
        await new Promise(resume => setTimeout(resume));
    return said;
})()"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with browser(CHROMIUM) as started:
        yield started


@pytest.fixture
def chat(row: Server) -> Iterator[Running]:
    """The example on Hypercorn's workers."""
    with running(row, app="examples.chat:app") as started:
        yield started


def test_two_tabs_talk(chat: Running, chromium: Browser) -> None:
    page = f"http://127.0.0.1:{chat.port}/"
    with chromium.tab(f"{page}#Ann") as ann, chromium.tab(page) as bob:
        ann.wait_for("people.length == 1")
        bob.evaluate("input.value = 'Bob'; form.requestSubmit()")
        for tab in (ann, bob):
            tab.wait_for("document.querySelector('#people').textContent == 'Here: Ann, Bob.'")
        ann.evaluate("input.value = 'Hello <b>Bob</b>'; form.requestSubmit()")
        for tab in (ann, bob):
            tab.wait_for("list.firstChild?.textContent == 'Ann: Hello <b>Bob</b>'")
        with chromium.tab(f"{page}#Late") as late:
            late.wait_for("list.firstChild?.textContent == 'Ann: Hello <b>Bob</b>'")
            late.evaluate("location.href = 'about:blank'")
        for tab in (ann, bob):
            tab.wait_for("people.length == 2")


def test_a_tab_that_was_away_gets_what_it_missed(chat: Running, chromium: Browser) -> None:
    page = f"http://127.0.0.1:{chat.port}/"
    with chromium.tab(f"{page}#Ann") as ann, chromium.tab(f"{page}#Bob") as bob:
        ann.wait_for("people.length == 2")
        ann.evaluate("ws.send('one')")
        bob.wait_for("list.childElementCount == 1")
        bob.evaluate("ws.close()")
        ann.wait_for("people.length == 1")
        ann.evaluate("ws.send('two'); ws.send('three')")
        bob.wait_for("list.childElementCount == 3")
        assert bob.evaluate("[...list.children].map(item => item.textContent)") == [
            "Ann: three",
            "Ann: two",
            "Ann: one",
        ]


def test_a_tab_that_stops_reading_delays_no_other_client(chat: Running, chromium: Browser) -> None:
    page = f"http://127.0.0.1:{chat.port}/"
    with chromium.tab(f"{page}#Ann") as ann, chromium.tab(f"{page}#Bob") as bob:
        ann.wait_for("people.length == 2")
        bob.wait_for("people.length == 2")
        with bob.paused():
            said = ann.evaluate(SAY_UNTIL_BOB_IS_GONE, timeout=60)
            # Bob is out while he still stands still, and Ann got every message, in order.
            assert ann.evaluate("people") == ["Ann"]
            assert ann.evaluate("numbers") == list(range(1, said + 1))
        # When Bob continues, the page reconnects, and is notified that it has missed messages.
        ann.wait_for("people.includes('Bob')", timeout=60)
        bob.wait_for("[...list.children].some(item => /are missing/.test(item.textContent))")
        ann.evaluate("ws.send('Welcome back')")
        bob.wait_for("list.firstChild.textContent == 'Ann: Welcome back'")
