"""The scripts of the probes against bare ``receive`` and ``send``: the server's own behaviour."""

from __future__ import annotations

import asyncio
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import anyio
import anyio.lowlevel

from ._bench import Bench, attempt
from ._client import Facts

Script = Callable[[Bench], Awaitable[None]]

SERVER_PACKAGES = ("hypercorn", "anycorn", "uvicorn", "granian", "daphne")
"""The packages of servers whose version is reported."""
LIBRARIES = ("anyio", "trio", "uvloop", "wsproto", "websockets", "autobahn", "wsnursery")
"""Other packages that affect the behaviour, if the process has loaded them."""

SIZE = 65536
"""Bytes of a message that fills buffers."""
MOST_BYTES = 32 * 1024 * 1024
"""A server that takes this many bytes counts as one that never blocks."""


async def hello(bench: Bench) -> None:
    """What the server announces, with versions."""
    await bench.accept()
    asgi = bench.scope["asgi"]
    bench.note(
        spec_version=asgi.get("spec_version"),
        extensions=sorted(bench.scope.get("extensions") or ()),
        backend=backend(),
        python=platform.python_version(),
        server=versions(SERVER_PACKAGES),
        libraries=versions(LIBRARIES),
    )


def backend() -> str:
    """Return the name of the running event loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return "trio"
    package = type(loop).__module__.partition(".")[0]
    return "asyncio" if package == "asyncio" else package


def versions(packages: tuple[str, ...]) -> Facts:
    """Return the versions of the packages that this process has imported."""
    found: Facts = {}
    for package in packages:
        if package in sys.modules:
            try:
                found[package] = version(package)
            except PackageNotFoundError:  # imported from a checkout
                found[package] = "unknown"
    return found


async def leave(bench: Bench) -> None:
    """The client leaves while a receive is pending."""
    await bench.accept()
    bench.order(bench.variant)
    bench.note(**await bench.end_of_input(2))


async def late_send(bench: Bench) -> None:
    """The client is gone, and the application sends. "received": it has received the disconnect."""
    await bench.accept()
    way, _, event = bench.variant.partition("-")
    if event == "received":
        bench.order(way)
        await bench.end_of_input(2)
    else:
        await bench.ask(way)
        await anyio.sleep(0.3)
    bench.note(sends=[await attempt(partial(bench.send_raw, "x"), 0.5) for _ in range(5)])
    if event == "received":
        bench.note(receive=await bench.end_of_input(0.3))


async def send_loop(bench: Bench) -> None:
    """A loop sends to a client that is gone: do other tasks run meanwhile?"""
    await bench.accept()
    await bench.ask("reset")
    await bench.end_of_input(2)
    ticks = sent = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.lowlevel.checkpoint()
            ticks += 1

    async def loop() -> None:
        nonlocal sent
        for _ in range(2000):
            await bench.send_raw("x")
            sent += 1

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await anyio.lowlevel.checkpoint()
        before = ticks
        result = await attempt(loop, 2)
        bench.note(**result, sent=sent, ticks=ticks - before)
        group.cancel_scope.cancel()


async def blocked_send(bench: Bench) -> None:
    """The client does not read. "cancel": can the send be cancelled? "reset": does it end?"""
    await bench.accept()
    sent = 0
    result: Facts = {}
    is_over = anyio.Event()
    scope = anyio.CancelScope()

    async def fill() -> None:
        nonlocal sent
        while sent < MOST_BYTES:
            await bench.send_raw(b"x" * SIZE)
            sent += SIZE

    async def sender() -> None:
        with scope:
            result.update(await attempt(fill, 20))
        is_over.set()

    async with anyio.create_task_group() as group:
        group.start_soon(sender)
        before = -1
        while sent > before and not is_over.is_set():
            before = sent
            await anyio.sleep(0.4)
        blocks = not is_over.is_set()
        bench.note(sent=sent, blocks=blocks)
        if blocks and bench.variant == "cancel":
            bench.note(cancellable=await _is_freed(scope.cancel, is_over))
        if blocks and bench.variant == "reset":
            bench.note(freed=await _is_freed(partial(bench.order, "reset"), is_over))
            bench.note(send=result, receive=await bench.end_of_input(1))
        else:
            await bench.ask("reset")
        scope.cancel()


async def _is_freed(measure: Callable[[], object], is_over: anyio.Event) -> bool:
    measure()
    with anyio.move_on_after(0.7):
        await is_over.wait()
    return is_over.is_set()


async def full_queue(bench: Bench) -> None:
    """Many messages are queued, the client resets, and the application sends."""
    await bench.accept()
    await bench.ask("send", count=300)
    await anyio.sleep(0.1)
    await bench.ask("reset")
    await anyio.sleep(0.2)
    sends: list[Facts] = []
    for _ in range(3):
        sends.append(await attempt(partial(bench.send_raw, "x"), 0.7))
        await anyio.sleep(0.02)
    bench.note(sends=sends)
    bench.note(receive=await bench.end_of_input(0.7))


async def unread(bench: Bench) -> None:
    """The application does not receive: how much does the server take?"""
    await bench.accept()
    bench.note(taken=await bench.ask("flood", limit=MOST_BYTES))


async def cancelled_receive(bench: Bench) -> None:
    """Timeouts around receive: are messages lost?"""
    await bench.accept()
    count, received = 400, 0
    patience = 0.0007

    async with anyio.create_task_group() as group:

        async def send() -> None:
            nonlocal patience
            await bench.ask("send", count=count, pause=0.001)
            patience = 0.3

        group.start_soon(send)
        while received < count:
            last_chance = patience > 0.1
            with anyio.move_on_after(patience) as scope:
                await bench.receive()
                received += 1
            if scope.cancelled_caught and last_chance:
                break
    bench.note(sent=count, lost=count - received)


async def concurrent_send(bench: Bench) -> None:
    """Eight tasks send large messages to a client that reads slowly."""
    await bench.accept()
    failed: Facts = {}

    async def sender(number: int) -> None:
        for _ in range(10):
            result = await attempt(partial(bench.send_raw, bytes([number]) * SIZE * 2), 5)
            if result["outcome"] != "returned":
                failed.update(result)
                break

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(sender, number)
        bench.note(sent=80, whole=await bench.ask("read", count=80, size=SIZE * 2))
        group.cancel_scope.cancel()
    bench.note(failed=failed or None)


async def end(bench: Bench) -> None:
    """The application ends without closing, or closes with a code."""
    if bench.variant.startswith("early"):
        await bench.receive()
    else:
        await bench.accept()
    if bench.variant.endswith("raise"):
        raise LookupError("raised on purpose by wsnursery doctor")
    code = bench.variant.removeprefix("close-")
    if code.isdigit():
        bench.order("answer")
        close = {"type": "websocket.close", "code": int(code)}
        bench.note(**await attempt(partial(bench.send, close), 1))
        # Stay, because a return of the application would be another question.
        await anyio.sleep(0.5)


async def early_frame(bench: Bench) -> None:
    """A message is in the packet of the handshake."""
    await bench.receive()
    bench.note(accept=await attempt(partial(bench.send, {"type": "websocket.accept"}), 1))
    bench.note(receive=await attempt(partial(_receive, bench), 0.5))


async def _receive(bench: Bench) -> Facts:
    return {"event": (await bench.receive())["type"]}


async def shutdown(bench: Bench) -> None:
    """The server gets SIGTERM while the application waits or sleeps."""
    await bench.accept()
    start = time.monotonic()
    try:
        bench.order("terminate")
        if bench.variant == "receive":
            bench.note(notified=await bench.end_of_input(SHUTDOWN_SECONDS))
        else:
            await anyio.sleep(SHUTDOWN_SECONDS)
            bench.note(notified=None)
    except anyio.get_cancelled_exc_class():
        bench.note(notified={"outcome": "cancelled", "seconds": round(time.monotonic() - start, 3)})
        raise


SHUTDOWN_SECONDS = 5.0
"""Seconds to wait for a server to end the application. Hypercorn's default is 3 seconds."""

RAW_SCRIPTS: dict[str, Script] = {
    script.__name__: script
    for script in (
        hello,
        leave,
        late_send,
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
