"""The same small application, written with each library.

Every library has a module here, with an `app` that serves these paths:

* ``/echo`` sends every message back,
* ``/push`` gets ``"COUNT:MESSAGE"`` and sends the message that often,
* ``/receive`` takes messages in silence and answers ``"end"`` with ``"end"``,
* ``/broadcast``, where there is one, sends every message to all who are connected there.

Each is written as its library's documentation has it, in as few steps as it allows.
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
"""The applications and the event loops that they run on; `raw` is what all are compared with."""

WITH_BROADCAST = ("raw", "wsnursery", "starlette")
"""The applications that serve ``/broadcast``."""


def load(name: str) -> Any:
    """The ASGI application of one library."""
    return import_module(f"{__name__}.{name}").app


def parse_push(message: str) -> tuple[int, str]:
    """How often to send what, from the query of ``/push``."""
    count, _, payload = message.partition(":")
    return int(count), payload
