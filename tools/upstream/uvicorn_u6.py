"""U6: with the legacy protocol, concurrent sends to a slow client die of AssertionError."""

import sys
import time
from contextlib import suppress

import anyio
from _reproduction import (
    UVICORN_LEGACY,
    Event,
    Receive,
    Send,
    Server,
    report,
    run,
    websocket,
)


@websocket
async def app(_scope: Event, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    failed: list[str] = []

    async def sender() -> None:
        try:
            for _ in range(20):
                await send({"type": "websocket.send", "bytes": bytes(300_000)})
        except Exception as exc:  # noqa: BLE001 - it is what is looked for
            failed.append(type(exc).__name__)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(sender)
    report(failed)


def reproduce(server: Server) -> str | None:
    count = 0
    with server.client(receive_buffer=4096) as client:
        client.status()
        client.socket.settimeout(1)
        with suppress(TimeoutError, EOFError, OSError):
            while count < 160:
                client.read()
                count += 1
                time.sleep(0.001)
        (failed,) = server.reported()
    if failed:
        return f"{count} of 160 messages arrived, {len(failed)} of 8 tasks failed with {failed[0]}"
    return None


if __name__ == "__main__":
    servers = (UVICORN_LEGACY,)
    sys.exit(run(__file__, reproduce, *servers))
