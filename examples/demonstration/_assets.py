"""The files of the page, read once, and plain HTTP answers."""

from __future__ import annotations

from pathlib import Path

from ._asgi import Send

TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
"""Content types by the extension of a file name."""

HEADERS = {
    # Otherwise Chromium keeps a page in the back/forward cache with its WebSockets open.
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Headers of every answer: no foreign code runs in the page, and no other page may frame it."""

PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The content security policy of a drawing: it contains its styles, and runs no code."""


def read_assets() -> dict[str, bytes]:
    """Read all files of the page, by the path under which they are served."""
    static = Path(__file__).with_name("static")
    found = {f"/{file.name}": file.read_bytes() for file in static.iterdir()}
    found["/"] = found.pop("/page.html")
    return found


def content_type(path: str) -> str:
    """Return the content type of the file that is served under a path."""
    return TYPES[path.rpartition(".")[2] if path != "/" else "html"]


async def answer(
    send: Send, status: int, body: bytes, kind: str, *, headers: dict[str, str] | None = None
) -> None:
    """Send a whole HTTP response.

    Args:
        send: The ASGI ``send``.
        status: The HTTP status.
        body: The content.
        kind: The content type.
        headers: Headers in addition to `HEADERS`, or in place of them.
    """
    fields = {"content-type": kind, "content-length": str(len(body)), **HEADERS, **(headers or {})}
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
