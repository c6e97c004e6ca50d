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
"""Content types by the ending of a file's name."""

HEADERS = {
    # Chromium keeps a page that was left, with its WebSockets open, unless it may not store it.
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
"""Of every answer: nothing from elsewhere runs in the page, and no other page may frame it."""

PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The content security policy of a drawing: its styles are inside it, and nothing runs in it."""


def read_assets() -> dict[str, bytes]:
    """All files of the page by the path under which they are served."""
    static = Path(__file__).with_name("static")
    found = {f"/{file.name}": file.read_bytes() for file in static.iterdir()}
    found["/"] = found.pop("/page.html")
    return found


def content_type(path: str) -> str:
    """The content type of what is served under a path."""
    return TYPES[path.rpartition(".")[2] if path != "/" else "html"]


async def answer(
    send: Send, status: int, body: bytes, kind: str, *, headers: dict[str, str] | None = None
) -> None:
    """Send a whole HTTP response.

    Args:
        send: The ASGI ``send``.
        status: The HTTP status.
        body: The content.
        kind: Its content type.
        headers: What is other than in `HEADERS`.
    """
    fields = {"content-type": kind, "content-length": str(len(body)), **HEADERS, **(headers or {})}
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
