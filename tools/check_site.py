"""Check the built documentation: `python tools/check_site.py DIRECTORY`.

Every link inside it leads to a page and an anchor that are there, and no page loads anything from
another host. Links to other sites are listed with ``--external`` and not followed.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "video": "src",
}
"""What a browser fetches by itself, and the attribute that says from where."""


class Page(HTMLParser):
    """The anchors, the links and the loaded files of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors = {""}  # the top of the page
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element says."""
        attributes = {name: value for name, value in attrs if value is not None}
        self.anchors.update(filter(None, (attributes.get("id"), attributes.get("name"))))
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        elif tag in LOADED and LOADED[tag] in attributes:
            self.loaded.append(attributes[LOADED[tag]])


FETCHED = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")
"""What a style sheet or a picture fetches from another host."""


def is_elsewhere(target: str) -> bool:
    """Whether a link leads to another host."""
    return bool(urlsplit(target).netloc)


def faults(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """What is wrong, one sentence each."""
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in page.loaded:
            if is_elsewhere(target):
                yield f"{name} loads {target}"
        for target in [*page.links, *page.loaded]:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not place.exists():
                yield f"{name} links to {target}: there is no such file"
            elif place in pages and unquote(parts.fragment) not in pages[place].anchors:
                yield f"{name} links to {target}: there is no such anchor"


def foreign_styles(site: Path) -> Iterator[str]:
    """What style sheets and pictures load from elsewhere."""
    for path in sorted([*site.rglob("*.css"), *site.rglob("*.svg")]):
        for target in FETCHED.findall(path.read_text("utf-8")):
            yield f"{path.relative_to(site)} loads {target}"


def main(arguments: list[str]) -> int:
    """Print what is wrong, or the external links; 1 if something is wrong."""
    site = Path(arguments[0]).resolve()
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    if not pages:
        print(f"{site} has no pages")
        return 1
    if "--external" in arguments:
        for link in sorted({link for page in pages.values() for link in page.links}):
            if is_elsewhere(link):
                print(link)
        return 0
    found = [*faults(site, pages), *foreign_styles(site)]
    print("\n".join(found) or f"{len(pages)} pages: all links lead somewhere, nothing is foreign")
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
