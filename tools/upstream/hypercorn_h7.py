"""H7: a cancelled send() breaks every later message when permessage-deflate is used.

The compressor has taken the message in, and nothing of it goes out.
"""

import os
import sys
import zlib

import anyio
from _reproduction import (
    ANYCORN_ASYNCIO,
    ANYCORN_TRIO,
    HYPERCORN_ASYNCIO,
    HYPERCORN_TRIO,
    TEXT,
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

    async def send_much() -> None:
        await send({"type": "websocket.send", "bytes": os.urandom(16_000_000)})

    async with anyio.create_task_group() as group:
        group.start_soon(send_much)
        await anyio.sleep(0.3)
        with anyio.move_on_after(0.3):
            await send({"type": "websocket.send", "text": "second, which is cancelled"})
        report("cancelled")
        await send({"type": "websocket.send", "text": "third, which is not cancelled"})
        await anyio.sleep(1)


def reproduce(server: Server) -> str | None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate"
    inflate = zlib.decompressobj(-15)
    with server.client(offer, receive_buffer=65536) as client:
        client.status()
        server.reported()
        while True:
            opcode, payload = client.read()
            try:
                message = inflate.decompress(payload + b"\0\0\xff\xff")
            except zlib.error as exc:
                return f"the third message cannot be inflated: {exc}"
            if opcode & 0x0F == TEXT:
                break
    expected = (b"second, which is cancelled", b"third, which is not cancelled")
    return None if message in expected else f"the third message arrives as {message!r}"


if __name__ == "__main__":
    servers = (
        HYPERCORN_TRIO,
        HYPERCORN_ASYNCIO,
        ANYCORN_TRIO,
        ANYCORN_ASYNCIO,
    )
    sys.exit(run(__file__, reproduce, *servers))
