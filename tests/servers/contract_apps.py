"""The handlers of test_every_server: each shows one rule of the contract to the client."""

import asyncio
import sys

import anyio

from tests.servers._registry import Connection, ours
from wsnursery import WebSocket

CHUNK = 32768
"""Bytes of one message where it takes many to fill the buffers."""


@ours()
async def where(ws: WebSocket, conn: Connection) -> None:
    module = anyio.get_cancelled_exc_class().__module__.partition(".")[0]
    loop = type(asyncio.get_running_loop()).__module__ if module == "asyncio" else "trio"
    conn.report("runs", on=loop.partition(".")[0], imported=sorted({"trio"} & {*sys.modules}))
    await ws.accept()


# ------------------------------------------------------------------------------------ handshakes


@ours()
async def chooses(ws: WebSocket, conn: Connection) -> None:
    await ws.accept("second", [(b"X-Test", b"1")])
    conn.report("chosen", subprotocol=ws.subprotocol)


@ours(allowed_origins=["https://good.example"])
async def same_origin(ws: WebSocket, conn: Connection) -> None:
    conn.report("entered")
    await ws.accept()


@ours()
async def deny(ws: WebSocket, conn: Connection) -> None:
    """Leave without accepting."""


@ours()
async def reject(ws: WebSocket, conn: Connection) -> None:
    conn.report("extensions", names=list(ws.scope.get("extensions") or ()))
    await ws.reject(429, [(b"Retry-After", b"7")], b"later")


@ours()
async def fail_early(ws: WebSocket, conn: Connection) -> None:
    raise LookupError("a bug of the handler")


@ours()
async def late_accept(ws: WebSocket, conn: Connection) -> None:
    conn.report("entered")
    await anyio.sleep(0.15)
    await ws.accept()
    conn.report("accepted")
    await anyio.sleep_forever()


# --------------------------------------------------------------------------------------- sending


@ours()
async def groups(ws: WebSocket, conn: Connection) -> None:
    """Task groups of the handler's own, in which the end of the connection reaches every task."""
    await ws.accept()

    async def sender() -> None:
        while True:
            await ws.send("x")
            await anyio.sleep(0.001)

    async def reader() -> None:
        while True:
            await ws.receive()

    async with anyio.create_task_group() as outer, anyio.create_task_group() as inner:
        outer.start_soon(sender)
        inner.start_soon(sender)
        inner.start_soon(reader)


async def until_the_client_leaves(ws: WebSocket) -> None:
    """daphne cuts off a client that is still reading one second after a close of ours."""
    async for _ in ws:
        pass


@ours()
async def senders(ws: WebSocket, conn: Connection) -> None:
    await ws.accept()

    async def sender(name: int) -> None:
        for number in range(20):
            await ws.send(bytes([name, number]) * (CHUNK // 2))

    async with anyio.create_task_group() as group:
        for name in range(8):
            group.start_soon(sender, name)
    await until_the_client_leaves(ws)


@ours()
async def cancelled_sends(ws: WebSocket, conn: Connection) -> None:
    """Half of the sends are cancelled after a moment, which must have no other effect."""
    await ws.accept()
    done = []
    for number in range(100):
        with anyio.move_on_after(0.001 if number % 2 else None):
            await ws.send(f"{number:04}" * (CHUNK // 4))
            done.append(number)
    await ws.send("last")
    conn.report("sent", done=done)
    await until_the_client_leaves(ws)


@ours(send_timeout=0.2, close_timeout=0.2)
async def stalled(ws: WebSocket, conn: Connection) -> None:
    """Send to a client that does not read, up to 32 MB."""
    await ws.accept()
    conn.report("accepted")
    count = 0
    try:
        while count < 1000:
            await ws.send(bytes(CHUNK))
            count += 1
    finally:
        conn.report("sent", count=count)


# ------------------------------------------------------------------------------------- receiving


@ours()
async def impatient_reader(ws: WebSocket, conn: Connection) -> None:
    """Cancel `receive` again and again."""
    await ws.accept()
    messages: list[str | bytes] = []
    cancelled = 0
    while len(messages) < 300:
        with anyio.move_on_after(0.0005) as limit:
            messages.append(await ws.receive())
        cancelled += limit.cancelled_caught
    conn.report("read", messages=messages, cancelled=cancelled)


@ours(receive_buffer=2)
async def slow_reader(ws: WebSocket, conn: Connection) -> None:
    """Read nothing until released."""
    await ws.accept()
    await conn.released.wait()
    conn.report("reads", used=ws.statistics().receive_buffer_high_water)
    numbers = [message[:8] async for message in ws]
    conn.report("read", numbers=[int(number) for number in numbers])


@ours(max_message_size=1000)
async def small_messages(ws: WebSocket, conn: Connection) -> None:
    await ws.accept()
    messages = [len(message) async for message in ws]
    conn.report("read", lengths=messages, code=ws.close_code)


# --------------------------------------------------------------------------------------- closing


@ours()
async def close_with(ws: WebSocket, conn: Connection) -> None:
    await ws.accept()
    for number in range(50):
        ws.send_nowait(str(number))
    await ws.close(int(conn.query["code"]), "enough")


@ours(close_timeout=0.3)
async def close_once(ws: WebSocket, conn: Connection) -> None:
    await ws.accept()
    await ws.close(4000)


@ours()
async def fail_in_child(ws: WebSocket, conn: Connection) -> None:
    await ws.accept()

    async def sibling() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            conn.report("cancelled")

    async def child() -> None:
        raise LookupError("a bug of the handler")

    ws.start_soon(sibling)
    await ws.receive()
    ws.start_soon(child)
    await anyio.sleep_forever()


# ----------------------------------------------------------------------------------- strict mode


@ours(strict=True)
async def strict_reader(ws: WebSocket, conn: Connection) -> None:
    conn.report("announced", asgi=ws.scope["asgi"])
    await ws.accept()
    async for message in ws:
        await ws.send(message)


@ours(strict=True)
async def strict_pusher(ws: WebSocket, conn: Connection) -> None:
    conn.report("announced", asgi=ws.scope["asgi"])
    await ws.accept()
    while True:
        await ws.send("x")


@ours(strict=True)
async def strict_closer(ws: WebSocket, conn: Connection) -> None:
    await ws.accept()
    await ws.close(1001)
