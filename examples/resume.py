"""A client that resumes without missing a message, over wsnursery's client or `websockets`.

Run it against ``python -m examples.chat``, and stop the chat for a while::

    python -m examples.resume ws://127.0.0.1:8000/

The server sends with every message its position, ``{"at": POSITION, ...}``, and the position alone
when the client joins. The client keeps the newest position that it has *applied*, and nothing else.
"""

import json
import random
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import anyio

Messages = AbstractAsyncContextManager[AsyncIterator[str | bytes]]

LONGEST_PAUSE, LASTING_SECONDS = 30.0, 10.0


async def follow(
    connect: Callable[[str], Messages], url: str, apply: Callable[[dict[str, Any]], object]
) -> None:
    """Apply every message once, in order, until cancelled or refused by the server."""
    after, attempts = "", 0
    while True:
        began, code = anyio.current_time(), None
        try:
            async with connect(f"{url}?name=resume&after={after}") as messages:
                async for text in messages:
                    message = json.loads(text)
                    apply(message)  # {"missed": number}: reload the state, then continue
                    after = message.get("at", after)
        except OSError as exc:
            code = getattr(exc, "code", None)
        if code is not None and code >= 4000:
            return  # the application refuses this client
        if anyio.current_time() - began >= LASTING_SECONDS:
            attempts = 0
        # Random, so that the clients of a server that restarts (1012) do not all come at once.
        pause = random.uniform(0, min(LONGEST_PAUSE, 0.5 * 2**attempts))  # noqa: S311
        attempts += 1
        await anyio.sleep(pause + (code == 1013))  # "try again later"


@asynccontextmanager
async def over_wsnursery(url: str) -> AsyncGenerator[AsyncIterator[str | bytes]]:
    """On trio: ``wsnursery[trio-websocket]``."""
    from wsnursery import WebSocketDisconnected
    from wsnursery.trio_websocket import connect

    async with connect(url) as ws:
        yield ws
        raise WebSocketDisconnected(ws.close_code)  # because `async for` ends without an exception


@asynccontextmanager
async def over_websockets(url: str) -> AsyncGenerator[AsyncIterator[str | bytes]]:
    """On asyncio: ``websockets``, whose exceptions are not an `OSError`."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    try:
        async with connect(url) as ws:
            yield aiter(ws)
            raise Ended(ws.close_code)
    except WebSocketException as exc:
        raise Ended(getattr(getattr(exc, "rcvd", None), "code", None)) from exc


class Ended(OSError):
    """A connection has ended with a close code."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


if __name__ == "__main__":
    url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8000/"
    with suppress(KeyboardInterrupt):
        anyio.run(follow, over_wsnursery, url, print, backend="trio")
