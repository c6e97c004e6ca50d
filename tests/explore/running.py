"""Run one random program on virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel

from tests.explore.programs import Bug, Operation, Program
from wsnursery import Options, WebSocket, open_websocket, testing
from wsnursery.testing._virtual_asyncio import VirtualEventLoop

LONGEST = 300.0
"""Virtual seconds that a program may take: all its limits one after the other, and more."""

TURNS = 60_000
"""Turns of an event loop that a program may take."""


@dataclass
class Run:
    """What is known of a run while it lasts, and afterwards."""

    program: Program
    backend: str
    server: testing.Server
    ws: WebSocket = field(init=False)
    sent: int = 0
    cancelled: bool = False
    """Code outside of the block has cancelled the handler."""
    native: int = 0
    """How often its task was cancelled natively."""
    interrupted: bool = False
    left_with: BaseException | None = None
    left_at: float | None = None
    handler: Any = None
    """The handler's asyncio task."""
    outer: anyio.CancelScope | None = None
    strange: list[BaseException] = field(default_factory=list)
    """The exceptions of calls of other tasks."""
    waiting: int = 0
    """Calls of other tasks that have not ended."""
    counts: list[str] = field(default_factory=list)


class ForeignCancellation(testing.Fault):
    """A raw send ends with a cancellation that no code here has requested."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def on_send(self, peer: testing.Peer, number: int, event: Any) -> None:
        if number == self._number:
            raise asyncio.CancelledError(_FOREIGN)


_FOREIGN = "of the server"


def faults_of(program: Program, backend: str) -> Iterator[testing.Fault]:
    for kind, number in program.faults:
        if kind == "delay":
            yield testing.Delay(number % 4)
        elif kind == "fail send":
            yield testing.FailSend(number, OSError("gone"))
        elif kind == "bug in send":
            yield testing.FailSend(number, Bug("of the server"))
        elif kind == "stall send":
            yield testing.StallSend(number)
        elif kind == "stall shielded":
            yield _StallAWhile(number)
        elif kind == "fail receive":
            yield testing.FailReceive(number, OSError("gone"))
        elif kind == "bug in receive":
            yield testing.FailReceive(number, Bug("of a middleware"))
        elif kind == "garbage":
            yield testing.Garbage(number, {"type": "websocket.nonsense"})
        elif backend != "trio":
            yield ForeignCancellation(number)


class _StallAWhile(testing.Fault):
    """A raw send cannot be cancelled for a long time."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def on_send(self, peer: testing.Peer, number: int, event: Any) -> None:
        if number == self._number:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(40)


async def _do_all(run: Run, operations: tuple[Operation, ...]) -> None:
    for operation in operations:
        await _do(run, *operation)


async def _do(run: Run, name: str, *rest: Any) -> None:  # noqa: C901 - one branch an operation
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
        ws.start_soon(_do_all, run, rest[0])
    else:
        await _do_nested(run, name, *rest)


async def _do_nested(run: Run, name: str, *rest: Any) -> None:
    if name == "timeout":
        with anyio.move_on_after(rest[0]):
            await _do_all(run, rest[1])
    elif name == "native timeout":
        await _native_timeout(run, *rest)
    elif name == "group":
        async with anyio.create_task_group() as tasks:
            for part in rest:
                tasks.start_soon(_do_all, run, part)
    elif name == "native group":
        await _native_group(run, rest)
    elif name == "gather":
        if run.backend == "trio":
            await _native_group(run, rest)
        else:
            await asyncio.gather(*[_do_all(run, part) for part in rest])
    elif name == "shield":
        with anyio.move_on_after(2, shield=True):
            await _do_all(run, rest[0])
    elif name == "except":
        try:
            await _do_all(run, rest[0])
        except Exception:  # noqa: BLE001 - programs do that
            await _do_all(run, rest[1])
    else:
        try:
            await _do_all(run, rest[0])
        finally:
            await _do_all(run, rest[1])


async def _native_timeout(run: Run, seconds: float, part: tuple[Operation, ...]) -> None:
    if run.backend == "trio":
        with anyio.move_on_after(seconds):
            await _do_all(run, part)
    else:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _do_all(run, part)


async def _native_group(run: Run, parts: tuple[Any, ...]) -> None:
    if run.backend == "trio":
        import trio

        async with trio.open_nursery() as nursery:
            for part in parts:
                nursery.start_soon(_do_all, run, part)
    else:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(_do_all(run, part))


async def _interfere(run: Run, moment: float, turns: int, what: str) -> None:
    await anyio.sleep(moment)
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()
    run.waiting += 1
    try:
        await _interfere_now(run, what)
    except Exception as exc:  # noqa: BLE001 - it is judged
        run.strange.append(exc)
    except asyncio.CancelledError as exc:  # noqa: ASYNC103 - the cancellation is the server's
        # It must not reach the group: if a task ends with a cancellation, anyio assumes that its
        # group must be cancelled, and the handler is in that group.
        if exc.args != (_FOREIGN,):
            raise
        run.strange.append(exc)
    finally:
        run.waiting -= 1


async def _interfere_now(run: Run, what: str) -> None:
    ws, peer = run.ws, run.server.peer
    if what == "peer sends":
        with suppress(anyio.WouldBlock, testing.ConnectionEnded):
            for number in range(3):
                peer.send_nowait(f"from the peer {number}")
    elif what == "peer closes":
        peer.close(4001)
    elif what == "peer vanishes":
        peer.vanish()
    elif what == "close":
        await ws.close(1012)
    elif what == "send":
        run.sent += 1
        await ws.send(str(run.sent))
    elif what == "start_soon":
        ws.start_soon(_do, run, "sleep", 1.0)
    elif what == "shut down":
        run.server.shut_down()
    elif run.left_at is None:
        run.cancelled = True
        if what == "cancel" or run.handler is None:
            assert run.outer is not None
            run.outer.cancel()
        else:
            for _ in range(1 + (what == "cancel natively twice")):
                run.native += 1
                run.handler.cancel()
                await anyio.lowlevel.checkpoint()


async def _handle(run: Run) -> None:
    """The handler, as a server would run it."""
    if run.backend != "trio":
        run.handler = asyncio.current_task()
    try:
        with anyio.CancelScope() as run.outer:
            async with run.ws:
                await run.ws.accept()
                await _do_all(run, run.program.body)
    except BaseException as exc:
        run.left_with = exc
        if not isinstance(exc, Exception | asyncio.CancelledError):
            raise
    finally:
        run.left_at = anyio.current_time()
    if run.handler is not None and run.handler.cancelling() != run.native:
        count = run.handler.cancelling()
        run.counts.append(f"cancelling() is {count} after {run.native} native cancellations")
    while run.handler is not None and run.handler.cancelling():
        run.handler.uncancel()
    with anyio.CancelScope(shield=True), suppress(asyncio.CancelledError):
        await anyio.lowlevel.checkpoint()


async def run_main(run: Run, left: list[str]) -> None:
    before = {task.id for task in anyio.get_running_tasks()}
    server, options = run.server, Options(**dict(run.program.options))
    run.ws = open_websocket(server.scope, server.receive, server.send, options=options)
    async with anyio.create_task_group() as others:
        async with anyio.create_task_group() as handlers:
            for operation in run.program.outside:
                others.start_soon(_interfere, run, *operation)  # pyright: ignore[reportArgumentType]
            others.start_soon(_interfere, run, 40.0, 0, "peer vanishes")  # every wait ends
            handlers.start_soon(_handle, run)
        run.server.app_ended()
        with anyio.move_on_after(60):
            while run.waiting:  # noqa: ASYNC110 - there is no event for it
                await anyio.sleep(0.5)
        if run.waiting:
            left.append(f"{run.waiting} calls of other tasks wait for ever")
        others.cancel_scope.cancel()
    for _ in range(8):
        await anyio.lowlevel.checkpoint()
    tasks = [str(task.name) for task in anyio.get_running_tasks() if task.id not in before]
    # What `gather` leaves behind when one of its tasks fails is the program's own.
    gathers = "gather" in repr(run.program.body)
    # A second native cancellation ends the wait for a send that the server cannot abandon (X5).
    stuck = run.native > 1 and any(kind == "stall shielded" for kind, _ in run.program.faults)
    for name in tasks:
        is_own = gathers and name.startswith(("Task-", "None"))
        if not is_own and not (stuck and name.endswith("sender")):
            left.append(f"the task {name} was left behind")
    if anyio.current_time() > LONGEST:
        left.append(f"it took {anyio.current_time():.0f} s")


class _Loop(VirtualEventLoop):
    """A turn without a pause takes time here, too.

    anyio cancels again in every turn of the loop while a task of a cancelled scope waits for
    something that it does not cancel. On a clock that stands still that would never end.
    """

    def __init__(self, *, eager: bool) -> None:
        self._turns = self._busy = 0
        self._last = 0.0
        super().__init__(self._turn, max_turns=10 * TURNS)
        if eager:
            self.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]

    def _turn(self) -> None:
        self._turns += 1
        if self._turns > TURNS:
            self._turns = 0
            raise testing.Livelock(f"it did not end within {TURNS} turns")
        self._busy = self._busy + 1 if self._jumping.now == self._last else 0
        if self._busy > 300:
            self._jumping.now += 0.001
        self._last = self._jumping.now


def run_on(backend: str, main: Callable[[], Any], seed: int) -> None:
    if backend != "trio":
        factory = partial(_Loop, eager=backend == "eager")
        anyio.run(main, backend="asyncio", backend_options={"loop_factory": factory})
        return
    name, options = testing.virtual_backend("trio", max_turns=TURNS // 4)
    internals: Any = import_module("trio._core._run")
    before = internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r
    internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r = True, random.Random(seed)
    try:
        anyio.run(main, backend=name, backend_options=options)
    finally:
        internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r = before
