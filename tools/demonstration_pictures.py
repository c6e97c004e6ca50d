"""docs/pictures/demonstration*.png: the demonstration, as a browser shows it.

Make them anew with ``python -m tools.demonstration_pictures``. It needs a Chromium and Pillow.
"""

import io
import json
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from tests.servers._browser import Browser, Tab, browser, find_browser

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
COLOURS = 128
WIDE = (1280, 900)
NARROW = (360, 740)


DRAWN = """
    /^closed/.test(document.querySelector("#entries").lastChild?.lastChild.textContent)
    && document.querySelector("#picture img")?.src.endsWith(
        `?${document.querySelector("#picture").clientWidth}&${entries.childElementCount}`)
"""
"""The story is complete, and drawn for the available width."""


@contextmanager
def demonstration() -> Generator[str]:
    """The address of a running demonstration."""
    command = [sys.executable, "-m", "examples.demonstration", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(
                found[0] for line in process.stdout if (found := re.search(r"http://\S+", line))
            )
        finally:
            process.terminate()


@contextmanager
def visitor(chromium: Browser, url: str, name: str) -> Generator[Tab]:
    """The page in the front, open and with a name."""
    with chromium.tab(f"{url}icon.svg") as tab:  # to be named before it is opened
        tab.look_as(*WIDE)
        tab.evaluate(f"sessionStorage.setItem('name', '{name}'); location.href = '/'; 0")
        tab.wait_for(f"document.querySelector('#chosen')?.textContent == '{name} (you)'")
        tab.wait_for("document.querySelectorAll('.card[data-state=open]').length >= 2")
        yield tab


def say(tab: Tab, text: str) -> None:
    """Say something, and wait until it is there."""
    tab.evaluate(
        f"document.querySelector('#message').value = {json.dumps(text)};"
        "document.querySelector('#saying').requestSubmit()"
    )
    tab.wait_for(f"document.querySelector('#said').innerText.includes({json.dumps(text)})")


def write(name: str, png: bytes) -> None:
    """Write a picture with as few colours as it needs."""
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(PICTURES / name, optimize=True)


def main() -> None:
    """Talk, break a test connection, and take the pictures."""
    path = find_browser()
    assert path is not None, "install a Chromium"
    with (
        demonstration() as url,
        browser(path) as chromium,
        visitor(chromium, url, "Bob") as bob,
        visitor(chromium, url, "Ann") as ann,
    ):
        say(ann, "Hello, is anybody there?")
        say(bob, "I am. Which one do we break?")
        say(ann, "A test connection.")
        ann.evaluate(
            "[...document.querySelectorAll('.card[data-state=open]')]"
            ".findLast(card => /^Test/.test(card.innerText)).querySelector('input').click();"
            "document.querySelector('[data-action=reset]').click()"
        )
        for name, size, scheme, part in (
            ("demonstration.png", WIDE, "light", "body"),
            ("demonstration-phone.png", NARROW, "dark", "#story"),
        ):
            ann.look_as(*size, scheme)
            ann.wait_for(DRAWN)
            write(name, ann.screenshot(part))


if __name__ == "__main__":
    main()
