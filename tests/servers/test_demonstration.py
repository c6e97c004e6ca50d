"""The demonstration as its user sees it: in a real browser, with every button pressed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.servers._browser import Browser, Page, Tab
from tests.servers._firefox import find_firefox, in_firefox
from tests.servers._harness import ROOT, wait_until

BACKENDS = ("trio", "asyncio")
COMMAND = (sys.executable, "-W", "error", "-m", "examples.demonstration")


ON_ONE_BACKEND = pytest.mark.parametrize("demonstration", ["trio"], indirect=True)
"""For what is about the page alone."""


class Demonstration:
    """A running demonstration."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stdout is not None
        self.said = ""
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", self.said)):
            line = process.stdout.readline()
            assert line, "it ended without an address"
            self.said += line
        self.url, self.port = found[0], int(found[1])

    def is_alone(self) -> bool:
        """Whether no connection of any page is open."""
        with connect(f"ws://127.0.0.1:{self.port}/watch") as watch:
            shown = json.loads(watch.recv(5))
        return all(known["state"] == "ended" for known in shown["connections"])

    def assert_ends(self, within: float) -> None:
        """It ends by itself, without a word."""
        out, _ = self.process.communicate(timeout=within)
        assert "Traceback" not in out
        assert "rror" not in out
        assert self.process.returncode == 0


@contextmanager
def demonstrated(backend: str, port: int = 0) -> Iterator[Demonstration]:
    """Start one; at the end it must stop as at Ctrl-C."""
    with subprocess.Popen(
        [*COMMAND, "--backend", backend, "--bind", f"127.0.0.1:{port}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            started = Demonstration(process)
            yield started
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                started.assert_ends(within=15)
        finally:
            process.kill()


@pytest.fixture(scope="module", params=BACKENDS)
def demonstration(request: pytest.FixtureRequest) -> Iterator[Demonstration]:
    with demonstrated(request.param) as started:
        yield started


@pytest.fixture
def open_page(chromium: Browser, demonstration: Demonstration) -> Callable[..., Any]:
    """Open the page in a tab; its console must stay free of complaints."""
    tabs: list[Tab] = []

    @contextmanager
    def opened(width: int = 1280, height: int = 900, scheme: str = "light") -> Iterator[Tab]:
        if not tabs:
            # Else what the page of the test before has left would be taken for this one's.
            assert wait_until(demonstration.is_alone, 15)
        with chromium.tab(demonstration.url) as tab:
            tabs.append(tab)
            tab.watch_console()
            tab.look_as(width, height, scheme)
            # Each has a chat and a test connection.
            tab.wait_for(f"({OPEN_CARDS}).length == {2 * len(tabs)}")
            tab.wait_for(IS_IN)
            yield tab
            assert tab.complaints() == []

    return opened


IS_IN = "document.querySelector('#people').textContent.startsWith('Here: ')"
OPEN_CARDS = "[...document.querySelectorAll('.card')].filter(card => card.dataset.state == 'open')"


def text_of(tab: Page, selector: str) -> str:
    text: str = tab.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")
    return text


def choose_test(tab: Page) -> str:
    """Choose the test connection of this page, and give its name."""
    own = f"({OPEN_CARDS}).find(card => /^Test/.test(card.innerText))"
    tab.evaluate(f"{own}.querySelector('input').click()")
    name = text_of(tab, "#chosen")
    assert name.startswith("Test ")
    return name


def press(tab: Page, action: str) -> None:
    tab.evaluate(f"document.querySelector('[data-action={action}]').click()")


def card(name: str) -> str:
    """A JavaScript expression for the newest card of a connection."""
    return (
        "[...document.querySelectorAll('.card')]"
        f".filter(card => card.querySelector('.name').textContent == {json.dumps(name)}).at(-1)"
    )


def moments(tab: Page) -> list[str]:
    """The story as text, without its times."""
    found: list[str] = tab.evaluate(
        "[...document.querySelectorAll('#entries li')].map(item => item.lastChild.textContent)"
    )
    return found


def wait_for_story(tab: Page, title: str, last: str) -> list[str]:
    tab.wait_for(
        f"document.querySelector('#story-what').textContent == {json.dumps(title)}"
        f" && document.querySelector('#entries').lastElementChild?.dataset.kind == {last!r}",
        timeout=15,
    )
    tab.wait_for("document.querySelector('#picture img')?.naturalWidth > 0")
    # What is read out, and what leads there on a phone.
    assert title in text_of(tab, "#outcome-text")
    assert tab.evaluate("!document.querySelector('#outcome-link').hidden")
    return moments(tab)


def assert_in_order(shown: list[str], *expected: str) -> None:
    """Each of these is the beginning of a moment, in this order."""
    rest = iter(shown)
    for beginning in expected:
        assert any(moment.startswith(beginning) for moment in rest), (beginning, shown)


def assert_ended(tab: Tab, name: str, state: str, tasks: dict[str, str]) -> None:
    tab.wait_for(f"{card(name)}?.querySelector('.state').textContent == {json.dumps(state)}")
    shown = tab.evaluate(
        f"Object.fromEntries([...{card(name)}.querySelectorAll('.tasks li')]"
        ".map(item => [item.firstChild.textContent, item.lastChild.textContent]))"
    )
    assert shown == tasks


def test_a_send_that_fails(open_page: Any) -> None:
    with open_page() as tab:
        name = choose_test(tab)
        press(tab, "reset")
        shown = wait_for_story(tab, f"{name}: the next send failed", "closed")
        error = "ConnectionResetError: [Errno 104] Connection reset by peer"
        assert_in_order(
            shown, f"send failed: {error}", "broken", "cancelled tick", "tick", "closed"
        )
        assert shown[-1].startswith("closed, no close code: WebSocketDisconnected: ")
        assert shown[-1].endswith(error)  # one exception, with its cause
        assert_ended(tab, name, "ended", {"body": "disconnected", "tick": "cancelled"})
        assert "cancelled, the connection ended" in tab.evaluate(f"{card(name)}.innerText")
        # The chat goes on.
        assert text_of(tab, "#people").startswith("Here: ")


def test_a_client_that_stops_reading(open_page: Any) -> None:
    with open_page() as tab:
        name = choose_test(tab)
        press(tab, "stall")
        tab.wait_for(f"{card(name)}.querySelector('.state').textContent == 'not reading'")
        tab.wait_for("/Waiting/.test(document.querySelector('#picture').textContent)")
        tab.wait_for(f"{card(name)}.querySelector('[data-way=send] .bar').dataset.full == 'true'")
        assert "16 of 16" in tab.evaluate(f"{card(name)}.innerText")
        shown = wait_for_story(tab, f"{name}: the client stopped reading", "closed")
        late = "TimeoutError: the server took no message within 6.0 s"
        assert_in_order(shown, "send buffer full", f"broken, no close code: {late}", "closed")
        assert shown[-1].endswith(late)
        assert_ended(tab, name, "ended", {"body": "disconnected", "tick": "cancelled"})


def test_a_flood(open_page: Any) -> None:
    with open_page() as tab:
        name = choose_test(tab)
        press(tab, "flood")
        tab.wait_for(
            f"{card(name)}.querySelector('[data-way=receive] .bar').dataset.full == 'true'"
        )
        tab.wait_for(
            f"/^100 received/.test({card(name)}.querySelector('.counts').textContent)"
            f" && /0 of 16/.test({card(name)}.querySelector('[data-way=receive]').innerText)",
            timeout=20,
        )
        shown = moments(tab)
        assert_in_order(shown, "receive buffer full")
        # All of it was read, and nothing ended.
        assert tab.evaluate(f"{card(name)}.dataset.state") == "open"


def test_a_child_that_raises(open_page: Any) -> None:
    with open_page() as tab:
        name = choose_test(tab)
        press(tab, "fail")
        shown = wait_for_story(tab, f"{name}: a child raised", "closed")
        assert_in_order(
            shown,
            "look_up started",
            "look_up failed: KeyError: 'EUR'",
            "cancelled",
            "closed, code 1011",
        )
        tasks = {"body": "cancelled", "tick": "cancelled", "look_up": "failed"}
        assert_ended(tab, name, "ended 1011", tasks)


def test_a_cancellation_from_outside(open_page: Any) -> None:
    with open_page() as tab:
        name = choose_test(tab)
        press(tab, "cancel")
        shown = wait_for_story(tab, f"{name}: it was cancelled from outside", "closed")
        assert_in_order(shown, "cancelled", "closed, code 1001")
        assert_ended(tab, name, "ended 1001", {"body": "cancelled", "tick": "cancelled"})


def test_the_own_chat_is_broken_and_comes_back(open_page: Any) -> None:
    with open_page() as tab:
        own = tab.evaluate("document.querySelector('#name').value") + " (you)"
        is_chosen = f"document.querySelector('#chosen').textContent == {json.dumps(own)}"
        tab.wait_for(is_chosen)
        say(tab, "before")
        press(tab, "fail")
        tab.wait_for("/closed with code 1011/.test(document.querySelector('#said').innerText)")
        tab.wait_for(IS_IN)
        tab.wait_for(is_chosen)
        say(tab, "after")
        said = text_of(tab, "#said")
        assert said.count("before") == said.count("after") == 1


def submit_buttons(tab: Page) -> list[str]:
    """Whether Rename and Send are disabled."""
    found: list[str] = tab.evaluate(
        "[...document.querySelectorAll('[type=submit]')].map(each => each.ariaDisabled)"
    )
    return found


def say(tab: Tab, text: str) -> None:
    tab.evaluate(
        f"document.querySelector('#message').value = {json.dumps(text)};"
        "document.querySelector('#saying').requestSubmit()"
    )
    tab.wait_for(f"document.querySelector('#said').innerText.includes({json.dumps(text)})")


def test_two_tabs(open_page: Any) -> None:
    with open_page() as ann, open_page() as bob:
        for tab, name in ((ann, "Ann"), (bob, "Bob <b>")):
            tab.evaluate(
                f"document.querySelector('#name').value = {json.dumps(name)};"
                "document.querySelector('#naming').requestSubmit()"
            )
        for tab in (ann, bob):
            tab.wait_for("document.querySelector('#people').textContent == 'Here: Ann, Bob <b>.'")
        say(ann, "Hello <i>Bob</i>")
        bob.wait_for("/Ann\\s+Hello <i>Bob<.i>/.test(document.querySelector('#said').innerText)")
        # One sees and breaks what the other has.
        ann.wait_for(f"{card('Bob <b>')}?.dataset.state == 'open'")
        ann.evaluate(f"{card('Bob <b>')}.querySelector('input').click()")
        press(ann, "cancel")
        for tab in (ann, bob):
            wait_for_story(tab, "Bob <b>: it was cancelled from outside", "closed")
        bob.wait_for("/closed with code 1001/.test(document.querySelector('#said').innerText)")
        ann.wait_for("document.querySelector('#people').textContent == 'Here: Ann, Bob <b>.'")


@ON_ONE_BACKEND
def test_by_keyboard_alone(open_page: Any) -> None:
    with open_page() as tab:
        focus = "document.activeElement"

        def tab_to(condition: str) -> None:
            for _ in range(40):
                tab.press("Tab")
                # Whatever has the focus shows it, and says what it is.
                assert tab.evaluate(f"getComputedStyle({focus}).outlineStyle") != "none"
                if tab.evaluate(condition):
                    return
            raise AssertionError(f"the focus never came there: {condition}")

        tab_to(f"{focus}.id == 'message'")
        for key in "hi":
            tab.press(key)
        tab.press("Enter")
        tab.wait_for("document.querySelector('#said').innerText.includes('hi')")
        tab_to(f"{focus}.type == 'radio'")
        before = text_of(tab, "#chosen")
        tab.press("ArrowDown")
        name = text_of(tab, "#chosen")
        assert name != before
        tab.evaluate("document.querySelector('.skip').focus()")
        tab.press("Enter")
        tab_to(f"{focus}.dataset.action == 'cancel'")
        tab.press("Enter")
        wait_for_story(tab, f"{name}: it was cancelled from outside", "closed")
        tab_to(f"{focus}.id == 'outcome-link'")
        tab.press("Enter")
        assert tab.evaluate("location.hash") == "#story"


@ON_ONE_BACKEND
def test_nothing_jumps(open_page: Any) -> None:
    with open_page() as tab:
        tab.evaluate(
            "new PerformanceObserver(list => {"
            "  for (const entry of list.getEntries()) window.shift += entry.value;"
            "}).observe({type: 'layout-shift'})"
        )
        for action in ("fail", "cancel"):
            name = choose_test(tab)
            tab.evaluate("window.shift = 0")
            press(tab, action)
            tab.wait_for(f"{card(name)}.dataset.state == 'ended'")
            # "Good" is at most 0.1 (https://web.dev/articles/cls).
            assert tab.evaluate("shift") < 0.1
            tab.evaluate("document.querySelector('#add').click()")
            tab.wait_for(f"({OPEN_CARDS}).length == 2")


@ON_ONE_BACKEND
def test_the_frame_is_as_high_as_its_picture(open_page: Any) -> None:
    """Also after a story that is shorter than the one before."""
    heights = []
    with open_page() as tab:
        for action, title, last in (
            ("reset", "the next send failed", "closed"),
            ("cancel", "it was cancelled from outside", "closed"),
        ):
            name = choose_test(tab)
            press(tab, action)
            wait_for_story(tab, f"{name}: {title}", last)
            tab.wait_for(
                "document.querySelector('#picture').clientHeight"
                " == document.querySelector('#picture img')?.clientHeight"
            )
            heights.append(tab.evaluate("document.querySelector('#picture').clientHeight"))
            tab.evaluate("document.querySelector('#add').click()")
            tab.wait_for(f"({OPEN_CARDS}).length == 2")
    long, short = heights
    assert long > short


@ON_ONE_BACKEND
def test_the_list_has_the_times_of_the_drawing(open_page: Any) -> None:
    with open_page() as tab:
        name = choose_test(tab)
        press(tab, "reset")
        wait_for_story(tab, f"{name}: the next send failed", "closed")
        listed = tab.evaluate(
            "[...document.querySelectorAll('#entries time')].map(each => each.textContent)"
        )
        drawing = tab.evaluate(
            "fetch(document.querySelector('#picture img').src).then(answer => answer.text())"
        )
        drawn = re.findall(r'class="wsn-time"[^>]*>([^<+]+)<', drawing)
        assert drawn
        assert {*drawn} <= {*listed}
        # A way on which no message was recorded has a name and nothing else.
        assert re.search(r">sent</text>", drawing)


@ON_ONE_BACKEND
def test_why_the_page_sees_a_code_that_the_handler_did_not_get(open_page: Any) -> None:
    with open_page() as tab:
        tab.wait_for("/ \\(you\\)$/.test(document.querySelector('#chosen').textContent)")
        press(tab, "reset")
        tab.wait_for("/closed with code 1011/.test(document.querySelector('#said').innerText)")
        tab.wait_for("/no close code/.test(document.querySelector('#entries').textContent)")
        assert "its page sees code 1011" in text_of(tab, "#story-why")


@ON_ONE_BACKEND
@pytest.mark.parametrize("width", [360, 760, 1180])
def test_nothing_is_cut_off(open_page: Any, width: int) -> None:
    with open_page(width, 740, "dark") as tab:
        say(tab, "w" * 300)
        name = choose_test(tab)
        press(tab, "reset")
        wait_for_story(tab, f"{name}: the next send failed", "closed")
        tab.evaluate("document.querySelector('#story-whole').open = true")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        beyond = tab.evaluate(
            "[...document.querySelectorAll('body *')].filter(each => !each.matches('.skip'))"
            ".filter(each => each.getBoundingClientRect().right > innerWidth + 1)"
            ".map(each => each.outerHTML.slice(0, 80))"
        )
        assert beyond == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_button_that_stops_the_server(chromium: Browser, backend: str) -> None:
    with demonstrated(backend) as server, chromium.tab(server.url) as tab:
        tab.wait_for(f"({OPEN_CARDS}).length == 2")
        press(tab, "stop")
        server.assert_ends(within=10)
        tab.wait_for("!document.querySelector('#down').hidden")
        assert "code 1012" in text_of(tab, "#down-text")
        assert text_of(tab, "#story-what") == "The server was shut down"
        tab.wait_for("document.querySelectorAll('#entries li').length == 3")
        assert all(moment.endswith("was closed with code 1012") for moment in moments(tab))
        assert tab.evaluate(
            "[...document.querySelectorAll('[data-action]')]"
            ".every(each => each.ariaDisabled == 'true')"
        )
        assert submit_buttons(tab) == ["true", "true"]
        name = tab.evaluate("document.querySelector('#name').value")
        tab.evaluate(
            "document.querySelector('#message').value = 'kept';"
            "document.querySelector('#name').value = 'Eve';"
            "document.querySelector('#saying').requestSubmit();"
            "document.querySelector('#naming').requestSubmit()"
        )
        assert "Not sent: you are not connected." in text_of(tab, "#said")
        assert "Not renamed: you are not connected." in text_of(tab, "#said")
        assert tab.evaluate("document.querySelector('#message').value") == "kept"
        with demonstrated(backend, server.port):
            tab.evaluate("document.querySelector('#retry').click()")
            tab.wait_for(f"({OPEN_CARDS}).length == 2")
            tab.wait_for(f"document.querySelector('#people').textContent == 'Here: {name}.'")
            assert submit_buttons(tab) == ["false", "false"]
            assert tab.evaluate("document.querySelector('#down').hidden")
            assert text_of(tab, "#line") == "Live"


def test_in_firefox() -> None:
    """What it shows, and that it comes back, in the other engine."""
    path = find_firefox()
    if path is None:
        pytest.skip("there is no Firefox")
    with demonstrated("trio") as server, in_firefox(path, server.url) as page:
        page.wait_for(f"({OPEN_CARDS}).length == 2")
        name = choose_test(page)
        press(page, "reset")
        shown = wait_for_story(page, f"{name}: the next send failed", "closed")
        assert_in_order(shown, "send failed", "broken", "cancelled tick", "tick", "closed")
        page.wait_for(
            "document.querySelector('#picture').clientHeight"
            " == document.querySelector('#picture img').clientHeight"
        )
        press(page, "stop")
        server.assert_ends(within=10)
        page.wait_for("!document.querySelector('#down').hidden")
        assert submit_buttons(page) == ["true", "true"]
        with demonstrated("trio", server.port):
            page.evaluate("document.querySelector('#retry').click()")
            page.wait_for(f"({OPEN_CARDS}).length == 2")
            assert submit_buttons(page) == ["false", "false"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_signal_ends_it_whatever_is_broken(chromium: Browser, backend: str) -> None:
    with demonstrated(backend) as server, chromium.tab(server.url) as tab:
        tab.wait_for(f"({OPEN_CARDS}).length == 2")
        choose_test(tab)
        press(tab, "stall")
        tab.wait_for("document.querySelector('.card[data-state=stalled]') != null")
        server.process.terminate()
        server.assert_ends(within=15)
        tab.wait_for("/code 1012/.test(document.querySelector('#down-text').textContent)")


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "examples.demonstration", "--bind", address],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"cannot listen on {address}: ")
    assert done.stderr.count("\n") == 1
