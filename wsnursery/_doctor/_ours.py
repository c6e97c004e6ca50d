"""The scripts of the probes on wsnursery: does the contract hold on this server?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel

from wsnursery._engine.websocket import WebSocket
from wsnursery._errors import WebSocketDisconnected
from wsnursery._options import Options
from wsnursery.asgi._open import open_websocket

from ._bench import Bench, described
from ._client import Facts
from ._raw import MOST_BYTES, SHUTDOWN_SECONDS, SIZE, Script

CHILDREN = 2
"""The number of children of every handler. Each has a clean-up that awaits."""

Body = Callable[[WebSocket, Bench], Awaitable[None]]


class _Watch:
    """Records what the tasks of one block did."""

    def __init__(self) -> None:
        self.cleaned = 0
        self.left_at: float | None = None

    async def child(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            self.cleaned += 1

    def facts(self, error: BaseException | None) -> Facts:
        return {
            "outcome": None if error is None else type(error).__name__,
            "group": isinstance(error, BaseExceptionGroup),
            "code": getattr(error, "code", None),
            "cleaned": self.cleaned,
            **({} if error is None else described(error)),
        }


async def _run(bench: Bench, body: Body, **options: Any) -> None:
    """Run a handler with children, and note the outcome of its block."""
    watch = _Watch()
    outcome: BaseException | None = None
    start = time.monotonic()
    try:
        async with open_websocket(
            bench.scope, bench.receive, bench.send, options=Options(**options)
        ) as ws:
            await ws.accept()
            for _ in range(CHILDREN):
                ws.start_soon(watch.child)
            await body(ws, bench)
    except WebSocketDisconnected as exc:
        outcome = exc
    except BaseException as exc:
        outcome = exc
        raise
    finally:
        bench.note(**watch.facts(outcome), seconds=round(time.monotonic() - start, 3))


async def _drain(ws: WebSocket) -> None:
    """Read until the end."""
    async for _ in ws:
        pass


async def leave(bench: Bench) -> None:
    """The client leaves while the body reads, or while it is busy."""
    way, _, role = bench.variant.partition("-")

    async def body(ws: WebSocket, bench: Bench) -> None:
        bench.order(way)
        if role == "busy":
            await anyio.sleep_forever()
        await _drain(ws)
        bench.note(read_code=ws.close_code)

    await _run(bench, body)


async def send_loop(bench: Bench) -> None:
    """The body only sends, and the client resets the connection."""
    ticks = sent = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1

    async def body(ws: WebSocket, bench: Bench) -> None:
        nonlocal sent
        ws.start_soon(tick)
        bench.order("reset")
        while True:
            await ws.send("x")
            sent += 1

    await _run(bench, body)
    bench.note(sent=sent, ticks=ticks)


async def blocked_send(bench: Bench) -> None:
    """The client stops reading: `send_timeout` must free the body."""
    unwound = anyio.Event()

    async def body(ws: WebSocket, bench: Bench) -> None:
        start = time.monotonic()
        try:
            for _ in range(MOST_BYTES // SIZE):
                await ws.send(b"x" * SIZE)
            bench.note(blocks=False)
            bench.order("reset")
            await anyio.sleep_forever()
        finally:
            bench.note(unwound=round(time.monotonic() - start, 3))
            unwound.set()

    async def free() -> None:
        await unwound.wait()
        await anyio.sleep(1.5)
        bench.note(needs_reset=True)
        bench.order("reset")

    bench.note(blocks=True, needs_reset=False)
    async with anyio.create_task_group() as group:
        group.start_soon(free)
        await _run(bench, body, send_timeout=0.5, close_timeout=0.5)
        group.cancel_scope.cancel()


async def full_queue(bench: Bench) -> None:
    """Many unread messages, then a reset. The body only pushes, with ``incoming="discard"``."""

    async def body(ws: WebSocket, bench: Bench) -> None:
        await bench.ask("send", count=300)
        bench.order("reset")
        while True:
            await ws.send("x")
            await anyio.sleep(0.001)

    await _run(bench, body, incoming="discard")


async def unread(bench: Bench) -> None:
    """The body does not read: memory must be bounded."""

    async def body(ws: WebSocket, bench: Bench) -> None:
        bench.note(taken=await bench.ask("flood", limit=MOST_BYTES))
        bench.note(kept=ws.statistics().receive_buffer_high_water)
        bench.order("reset")
        await _drain(ws)

    await _run(bench, body)


async def cancelled_receive(bench: Bench) -> None:
    """Timeouts around receive: no message may be lost."""
    count, received = 400, 0

    async def body(ws: WebSocket, bench: Bench) -> None:
        nonlocal received
        bench.order("send", count=count, pause=0.001)
        with anyio.move_on_after(3):
            while received < count:
                with anyio.move_on_after(0.0007):
                    await ws.receive()
                    received += 1
        bench.order("answer")
        await ws.close()

    await _run(bench, body)
    bench.note(sent=count, lost=count - received)


async def concurrent_send(bench: Bench) -> None:
    """Eight tasks send large messages to a client that reads slowly."""

    async def sender(ws: WebSocket, number: int) -> None:
        for _ in range(10):
            await ws.send(bytes([number]) * SIZE * 2)

    async def body(ws: WebSocket, bench: Bench) -> None:
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(sender, ws, number)
            bench.note(whole=await bench.ask("read", count=80, size=SIZE * 2))
        bench.order("answer")
        await ws.close()

    bench.note(sent=80)
    await _run(bench, body)


async def end(bench: Bench) -> None:
    """The body ends by itself, fails, or closes with 1001."""

    async def body(ws: WebSocket, bench: Bench) -> None:
        bench.order("answer")
        if bench.variant == "raise":
            raise LookupError("raised on purpose by wsnursery doctor")
        if bench.variant == "close":
            await ws.close(1001)
        ws.cancel_scope.cancel()

    await _run(bench, body, close_timeout=1.0)


async def early_frame(bench: Bench) -> None:
    """A message is in the packet of the handshake."""

    async def body(ws: WebSocket, bench: Bench) -> None:
        bench.note(received=await ws.receive())

    await _run(bench, body, idle_timeout=0.5, close_timeout=0.5)


async def shutdown(bench: Bench) -> None:
    """The server gets SIGTERM while the body reads."""

    async def body(ws: WebSocket, bench: Bench) -> None:
        bench.order("terminate")
        bench.order("answer")
        with anyio.move_on_after(SHUTDOWN_SECONDS):
            await _drain(ws)

    await _run(bench, body, close_timeout=1.0)


OUR_SCRIPTS: dict[str, Script] = {
    script.__name__: script
    for script in (
        leave,
        send_loop,
        blocked_send,
        full_queue,
        unread,
        cancelled_receive,
        concurrent_send,
        end,
        early_frame,
        shutdown,
    )
}
