"""Run one random program on virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel

from tests.contract._bench import leaves
from tests.explore.facts import Run
from tests.explore.limits import counting_handovers
from tests.explore.operations import do, do_all
from tests.explore.programs import Bug, Program
from wsnursery import Options, open_websocket, testing
from wsnursery.testing._virtual_asyncio import VirtualEventLoop

LONGEST = 300.0
"""Virtual seconds that a program may take: all its limits one after the other, and more."""

TURNS = 60_000
"""Turns of an event loop that a program may take."""


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
        ws.start_soon(do, run, "sleep", 1.0)
    elif what == "shut down":
        run.server.shut_down()
    elif run.left_at is None:
        run.cancelled = True
        if what == "cancel" or run.handler is None:
            assert run.outer is not None
            run.outer.cancel()
        else:
            await _cancel_natively(run, 1 + (what == "cancel natively twice"))


async def _cancel_natively(run: Run, times: int) -> None:
    for _ in range(times):
        if run.left_at is None:
            run.native += 1
            run.handler.cancel()
            await anyio.lowlevel.checkpoint()


async def _do_body(run: Run) -> None:
    try:
        await run.ws.accept()
        await do_all(run, run.program.body)
    except BaseException as exc:
        run.body_cancelled = any(isinstance(leaf, asyncio.CancelledError) for leaf in leaves(exc))
        raise
    finally:
        run.native_in_body = run.native


async def _handle(run: Run) -> None:
    """The handler, as a server would run it."""
    if run.backend != "trio":
        run.handler = asyncio.current_task()
    try:
        with anyio.CancelScope() as run.outer:
            async with run.ws:
                await _do_body(run)
    except BaseException as exc:
        run.left_with = exc
        if not isinstance(exc, Exception | asyncio.CancelledError):
            raise
    finally:
        run.left_at = anyio.current_time()
    run.counted = None if run.handler is None else run.handler.cancelling()
    while run.handler is not None and run.handler.cancelling():
        run.handler.uncancel()
    with anyio.CancelScope(shield=True), suppress(asyncio.CancelledError):
        await anyio.lowlevel.checkpoint()


async def run_main(left: list[str], run: Run) -> None:
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
    before |= {id(task) for task in run.gathered}
    names = [str(task.name) for task in anyio.get_running_tasks() if task.id not in before]
    # A second native cancellation ends the wait for a send that the server cannot abandon (X5).
    stuck = run.native > 1 and any(kind == "stall shielded" for kind, _ in run.program.faults)
    late = [name for name in names if not (stuck and name.endswith("sender"))]
    left += [f"the task {name} was left behind" for name in late]
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


def run_on(backend: str, main: Callable[[Run], Any], run: Run, seed: int) -> None:
    if backend != "trio":
        factory = partial(_Loop, eager=backend == "eager")
        with counting_handovers(run.note_handed_over):
            anyio.run(main, run, backend="asyncio", backend_options={"loop_factory": factory})
        return
    name, options = testing.virtual_backend("trio", max_turns=TURNS // 4)
    internals: Any = import_module("trio._core._run")
    before = internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r
    internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r = True, random.Random(seed)
    try:
        anyio.run(main, run, backend=name, backend_options=options)
    finally:
        internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r = before
