"""A client that reconnects, after a random pause that grows.

Run it against any echo, for instance ``python -m examples.echo``::

    python -m examples.reconnect ws://127.0.0.1:8000/

Stop the server and start it again: the client continues. The pause grows and is random, so that
the clients of a server that restarts do not all reconnect in the same second.
"""

import random
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from wsnursery import WebSocket
from wsnursery.trio_websocket import connect

FIRST_PAUSE = 0.5
"""The longest first pause, in seconds. It doubles with every attempt."""

LONGEST_PAUSE = 30.0
"""The longest pause after many attempts, in seconds."""

STABLE_SECONDS = 10.0
"""After a session that lasted this long, the pauses start again from the shortest."""


async def stay_connected(url: str, session: Callable[[WebSocket], Awaitable[object]]) -> None:
    """Run a session for every connection, one after the other, until cancelled.

    An `OSError` is a reason to reconnect: the server could not be reached, has rejected the
    handshake (`HandshakeRejected`), or the connection has ended (`WebSocketDisconnected`).
    Any other exception is raised.
    """
    pause = FIRST_PAUSE
    while True:
        began = trio.current_time()
        try:
            async with connect(url) as ws:
                await session(ws)
        except OSError as exc:
            print(exc, flush=True)
        if trio.current_time() - began >= STABLE_SECONDS:
            pause = FIRST_PAUSE
        await trio.sleep(random.uniform(0, pause))  # noqa: S311 - not for cryptography
        pause = min(pause * 2, LONGEST_PAUSE)


async def converse(ws: WebSocket) -> None:
    """Use one connection until it ends."""
    print("connected", flush=True)
    await ws.send("hello")
    async for message in ws:
        print(f"received {message!r}", flush=True)
    print(f"closed with {ws.close_code}", flush=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8000/"
        trio.run(stay_connected, url, converse)
