"""What each operation of a random program does."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel

from tests.explore.facts import Run
from tests.explore.limits import CountingGroup
from tests.explore.programs import Bug, Operation

_is_gathered: ContextVar[bool] = ContextVar("_is_gathered", default=False)
"""Whether `asyncio.gather` has started the task, or a task that it has started."""


async def do_all(run: Run, operations: tuple[Operation, ...]) -> None:
    if _is_gathered.get():
        run.gathered.add(asyncio.current_task())
    for operation in operations:
        await do(run, *operation)


async def do(run: Run, name: str, *rest: Any) -> None:  # noqa: C901 - one branch an operation
    ws = run.ws
    if name == "send":
        run.sent += 1
        await ws.send(str(run.sent))
    elif name == "send_nowait":
        run.sent += 1
        with suppress(anyio.WouldBlock):
            ws.send_nowait(str(run.sent))
    elif name == "flush":
        await ws.flush()
    elif name == "receive":
        await ws.receive()
    elif name == "iterate":
        async for _ in ws:
            pass
    elif name == "checkpoints":
        for _ in range(rest[0]):
            await anyio.lowlevel.checkpoint()
    elif name == "sleep":
        await anyio.sleep(rest[0])
    elif name == "close":
        await ws.close(4000)
    elif name == "raise":
        raise Bug("of the program")
    elif name == "interrupt":
        run.interrupted = True
        raise KeyboardInterrupt
    elif name == "cancel":
        ws.cancel_scope.cancel()
    elif name == "leave":
        raise anyio.EndOfStream  # an error of another library, for instance
    elif name == "child":
        ws.start_soon(_do_child, run, rest[0])
    else:
        await _do_nested(run, name, *rest)


async def _do_child(run: Run, operations: tuple[Operation, ...]) -> None:
    _is_gathered.set(False)  # the block waits for it, whoever has started it
    await do_all(run, operations)


async def _do_gathered(run: Run, operations: tuple[Operation, ...]) -> None:
    _is_gathered.set(True)
    await do_all(run, operations)


async def _do_nested(run: Run, name: str, *rest: Any) -> None:
    if name == "timeout":
        with _move_on_after(run, rest[0]):
            await do_all(run, rest[1])
    elif name == "native timeout":
        await _native_timeout(run, *rest)
    elif name == "group":
        async with anyio.create_task_group() as tasks:
            for part in rest:
                tasks.start_soon(do_all, run, part)
    elif name == "native group":
        await _native_group(run, rest)
    elif name == "gather":
        if run.backend == "trio":
            await _native_group(run, rest)
        else:
            await _gather(run, rest)
    elif name == "shield":
        with _move_on_after(run, 2, shield=True):
            await do_all(run, rest[0])
    elif name == "except":
        try:
            await do_all(run, rest[0])
        except Exception:  # noqa: BLE001 - programs do that
            await do_all(run, rest[1])
    else:
        try:
            await do_all(run, rest[0])
        finally:
            await do_all(run, rest[1])


@contextmanager
def _move_on_after(run: Run, seconds: float, *, shield: bool = False) -> Generator[None]:
    scope = anyio.CancelScope(deadline=anyio.current_time() + seconds, shield=shield)
    try:
        with scope:
            yield
    except asyncio.CancelledError:
        run.scopes_let_out += scope.cancel_called
        raise


async def _native_timeout(run: Run, seconds: float, part: tuple[Operation, ...]) -> None:
    if run.backend == "trio":
        with anyio.move_on_after(seconds):
            await do_all(run, part)
        return
    timeout = asyncio.timeout(seconds)
    try:
        with suppress(TimeoutError):
            async with timeout:
                await do_all(run, part)
    except asyncio.CancelledError:
        run.timeouts_let_out += timeout.expired()
        raise


async def _gather(run: Run, parts: tuple[Any, ...]) -> None:
    works = [_do_gathered(run, part) for part in parts]
    try:
        done = asyncio.gather(*works)
    except KeyboardInterrupt:  # of an eager task, before the next ones are started
        for work in works:
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()
        raise
    await done


async def _native_group(run: Run, parts: tuple[Any, ...]) -> None:
    if run.backend == "trio":
        import trio

        async with trio.open_nursery() as nursery:
            for part in parts:
                nursery.start_soon(do_all, run, part)
    else:
        async with CountingGroup(run) as group:
            for part in parts:
                work = do_all(run, part)
                try:
                    group.create_task(work)
                except RuntimeError:  # an eager task has failed, and the group shuts down
                    work.close()
                    raise
