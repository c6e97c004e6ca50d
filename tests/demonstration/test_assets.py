"""The files of the page, and what it may load."""

import ast
import re
from html.parser import HTMLParser
from typing import Any

from examples.demonstration._actions import ACTIONS
from examples.demonstration._assets import HEADERS, answer, content_type, read_assets

ASSETS = read_assets()
PAGE = ASSETS["/"].decode()
SCRIPTS = {path: body.decode() for path, body in ASSETS.items() if path.endswith(".js")}


class Elements(HTMLParser):
    """All elements of a page, as names and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def values(self, name: str) -> list[str]:
        return [value for _, attributes in self.found if (value := attributes.get(name))]


ELEMENTS = Elements(PAGE)


def test_every_file_has_a_content_type() -> None:
    assert {path: content_type(path).partition(";")[0] for path in ASSETS} == {
        "/": "text/html",
        "/icon.svg": "image/svg+xml",
        "/page.css": "text/css",
        **dict.fromkeys(SCRIPTS, "text/javascript"),
    }


def test_what_the_page_loads_is_there() -> None:
    loaded = {*ELEMENTS.values("src"), *ELEMENTS.values("href")}
    for text in SCRIPTS.values():
        loaded |= {f"/{name}" for name in re.findall(r'from "\./(\S+)"', text)}
    assert {path for path in loaded if not path.startswith("#")} == {*ASSETS} - {"/"}


def test_nothing_comes_from_elsewhere() -> None:
    for path, body in ASSETS.items():
        addresses = re.findall(rb"\bhttps?://[^\s\"')]+", body)
        assert set(addresses) <= {b"http://www.w3.org/2000/svg"}, path


def test_the_policy_of_the_page_allows_what_is_in_it() -> None:
    """No style and no script stands in the page itself."""
    assert not [tag for tag, _ in ELEMENTS.found if tag == "style"]
    assert not ELEMENTS.values("style")
    assert not [name for _, attributes in ELEMENTS.found for name in attributes if name[:2] == "on"]
    assert [attributes for tag, attributes in ELEMENTS.found if tag == "script"] == [
        {"type": "module", "src": "/page.js"}
    ]


def test_text_of_others_is_never_taken_for_html() -> None:
    for path, text in SCRIPTS.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text
        ), path


def test_what_scripts_and_labels_refer_to_is_there() -> None:
    ids = ELEMENTS.values("id")
    assert len(ids) == len(set(ids))
    wanted = {*ELEMENTS.values("for"), *ELEMENTS.values("aria-labelledby")}
    wanted |= {target[1:] for target in ELEMENTS.values("href") if target.startswith("#")}
    for text in SCRIPTS.values():
        wanted |= set(re.findall(r'find\("([^"]+)"\)', text))
    assert wanted <= set(ids)


def test_every_button_does_something_and_is_explained() -> None:
    actions = {*ACTIONS, "stop"}
    assert set(ELEMENTS.values("data-action")) == actions
    assert {name for name in ELEMENTS.values("id") if name.startswith("about-")} == {
        f"about-{action}" for action in actions
    }


def test_the_code_beside_it_is_python() -> None:
    blocks = re.findall(r"<pre><code>(.*?)</code></pre>", PAGE, re.DOTALL)
    assert len(blocks) == len(ACTIONS) + 1
    for block in blocks:
        ast.parse(block)
        assert max(map(len, block.splitlines())) <= 37  # it fits on a phone


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    digits = colour if len(colour) == 6 else "".join(2 * digit for digit in colour)
    parts = [int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


READ_ON = {
    "text": ["page", "panel", "field", "code", "busy-back"],
    "quiet": ["page", "panel", "field", "idle-back"],
    "accent": ["panel"],
    "on-accent": ["accent"],
    "good": ["panel", "good-back"],
    "busy": ["panel", "field", "busy-back"],
    "bad": ["panel", "field", "bad-back"],
}
"""What is written on what."""


def test_everything_can_be_read_in_the_light_and_in_the_dark() -> None:
    """The contrast is that of level AA of WCAG 2.2, 1.4.3."""
    schemes = re.findall(r":root \{(.*?)\}", ASSETS["/page.css"].decode(), re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z-]+): #([0-9a-f]+);", scheme))
        for ink, papers in READ_ON.items():
            for paper in papers:
                dark, light = sorted((luminance(colours[ink]), luminance(colours[paper])))
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, paper)


async def test_an_answer() -> None:
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    await answer(send, 201, b"body", "text/plain", headers={"referrer-policy": "origin"})
    start, body = sent
    assert start["type"] == "http.response.start"
    assert start["status"] == 201
    assert dict(start["headers"]) == {
        **{name.encode(): value.encode() for name, value in HEADERS.items()},
        b"content-type": b"text/plain",
        b"content-length": b"4",
        b"referrer-policy": b"origin",
    }
    assert body == {"type": "http.response.body", "body": b"body"}


def test_headers_that_protect_the_page() -> None:
    assert HEADERS["cache-control"] == "no-store"
    assert HEADERS["x-content-type-options"] == "nosniff"
    policy = HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
