"""H16: the task that pings keeps a connection that has ended until its next ping."""

import os
import sys
import time

from _reproduction import (
    HYPERCORN_ASYNCIO,
    HYPERCORN_TRIO,
    Event,
    Receive,
    Send,
    Server,
    report,
    run,
    websocket,
)


def descriptors() -> int:
    """How many the process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a number is wanted


@websocket
async def app(_scope: Event, receive: Receive, send: Send) -> None:
    await receive()
    report(descriptors())
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


CONNECTIONS = 20


def reproduce(server: Server) -> str | None:
    with server.client() as client:
        (before,) = server.reported()
        client.status()
        client.read()  # the first ping: the task that sends it runs, and sleeps from now on
    for _ in range(CONNECTIONS):
        with server.client() as client:
            server.reported()
            client.status()
            client.read()
    time.sleep(2)
    with server.client() as client:
        (after,) = server.reported()
    left = after - before
    return None if left <= 5 else f"{left} descriptors of {CONNECTIONS + 1} are still open"


if __name__ == "__main__":
    sys.exit(
        run(
            __file__,
            reproduce,
            HYPERCORN_TRIO,
            HYPERCORN_ASYNCIO,
            options="--websocket-ping-interval 60",
        )
    )
