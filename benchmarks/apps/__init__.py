"""The same small application, written with each library.

Every library has a module here, with an `app` that serves these paths:

* ``/echo`` sends every message back,
* ``/push`` gets ``"COUNT:MESSAGE"`` and sends the message that often,
* ``/receive`` receives messages, and answers only ``"end"``, with ``"end"``,
* ``/broadcast``, where there is one, sends every message to all clients of that path.

Each is written as in the documentation of its library, with as few steps as possible.
"""

from importlib import import_module
from typing import Any

BACKENDS = {
    "raw": ("trio", "asyncio"),
    "floor": ("trio", "asyncio"),
    "wsnursery": ("trio", "asyncio"),
    "starlette": ("trio", "asyncio"),
    "fastapi": ("trio", "asyncio"),
    "litestar": ("trio", "asyncio"),
    "falcon": ("asyncio",),
    "quart": ("asyncio",),
    "quart_trio": ("trio",),
}
"""The applications and their event loops. All are compared with `raw`."""

WITH_BROADCAST = ("raw", "wsnursery", "starlette")
"""The applications that serve ``/broadcast``."""


def load(name: str) -> Any:
    """The ASGI application of one library."""
    return import_module(f"{__name__}.{name}").app


def parse_push(message: str) -> tuple[int, str]:
    """How often to send what, from the query of ``/push``."""
    count, _, payload = message.partition(":")
    return int(count), payload
