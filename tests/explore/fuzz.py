"""Random programs around one connection, and what must hold after every one of them.

A program is plain data: what the body and its children do, what the peer and other tasks do at the
same time, how the server behaves, and what goes wrong. A seed gives the same program every time.

``python -m tests.explore.fuzz BACKEND SEED`` runs one and prints the smallest program that fails in
the same way; ``python -m tests.explore.fuzz BACKEND FIRST LAST`` runs many.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel

from wsnursery import (
    LocalProtocolError,
    Options,
    RemoteProtocolError,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
)
from wsnursery.testing._virtual_asyncio import VirtualEventLoop

LONGEST = 300.0
"""Virtual seconds that a program may take: all its limits one after the other, and more."""

TURNS = 60_000
"""Turns of an event loop that a program may take."""

BACKENDS = ("asyncio", "eager", "trio") if sys.version_info >= (3, 12) else ("asyncio", "trio")
"""``eager`` is asyncio with eager tasks, which came with CPython 3.12."""

Operation = tuple[Any, ...]
"""What a task does: a name, and numbers or lists of operations."""


class Bug(Exception):
    """The program's own error."""


@dataclass(frozen=True)
class Program:
    """What happens in one run."""

    body: tuple[Operation, ...]
    outside: tuple[Operation, ...]
    """What the peer and tasks that are not part of the connection do: a moment, and what."""
    personality: str
    answers_close: bool
    faults: tuple[Operation, ...]
    options: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return "\n".join(f"  {name} = {value!r}" for name, value in vars(self).items())


# -------------------------------------------------------------------------------- making programs

SIMPLE = ("send", "send", "send_nowait", "flush", "receive", "receive", "iterate", "checkpoints")
RARE = ("close", "raise", "cancel", "leave", "interrupt")
NESTED = ("child", "child", "timeout", "native timeout", "group", "native group", "gather")
AROUND = ("except", "finally", "shield")

MOMENTS = (0.0, 0.0, 0.01, 0.5, 1.0)


def make(seed: int) -> Program:
    """The program of a seed."""
    chance = random.Random(seed)
    return Program(
        body=_operations(chance, 3),
        outside=tuple(_outside(chance) for _ in range(chance.randint(0, 4))),
        personality=chance.choice(testing.SERVERS + testing.BASIC).name,
        answers_close=chance.random() < 0.7,
        faults=tuple(_fault(chance) for _ in range(chance.choice((0, 0, 1, 1, 2)))),
        options=(
            ("grace_period", chance.choice((0, 0.05, 5.0))),
            ("close_timeout", chance.choice((0.05, 1.0, 5.0))),
            ("send_timeout", chance.choice((0.5, 30.0))),
            ("receive_buffer", chance.choice((1, 64))),
            ("send_buffer", chance.choice((1, 256))),
            ("incoming", chance.choice(("buffer", "buffer", "buffer", "discard"))),
        ),
    )


def _operations(chance: random.Random, depth: int) -> tuple[Operation, ...]:
    return tuple(_operation(chance, depth) for _ in range(chance.randint(1, 3)))


def _operation(chance: random.Random, depth: int) -> Operation:
    kinds = [*SIMPLE, *SIMPLE, "sleep", *RARE]
    if depth:
        kinds += [*NESTED, *NESTED, *AROUND]
    name = chance.choice(kinds)
    if name == "interrupt" and chance.random() < 0.8:
        name = "send"
    if name == "sleep":
        return name, chance.choice((0.01, 1.0, 20.0))
    if name == "checkpoints":
        return name, chance.randint(0, 8)
    if name in ("timeout", "native timeout"):
        return name, chance.choice((0.0, 0.01, 1.0)), _operations(chance, depth - 1)
    if name in ("child", "shield"):
        return name, _operations(chance, depth - 1)
    if name in ("group", "native group", "gather", "except", "finally"):
        return name, _operations(chance, depth - 1), _operations(chance, depth - 1)
    return (name,)


def _outside(chance: random.Random) -> Operation:
    kinds = ("peer sends", "peer sends", "peer closes", "peer vanishes", "close", "send", "send")
    more = ("start_soon", "cancel", "cancel natively", "cancel natively twice", "shut down")
    return chance.choice(MOMENTS), chance.randint(0, 12), chance.choice(kinds + more)


def _fault(chance: random.Random) -> Operation:
    kinds = ("delay", "fail send", "fail send", "bug in send", "stall send", "stall shielded")
    more = ("fail receive", "bug in receive", "garbage", "foreign cancellation")
    return chance.choice(kinds + more), chance.randint(1, 6)


# -------------------------------------------------------------------------------- running programs


@dataclass
class Run:
    """What is known of a run while it lasts, and afterwards."""

    program: Program
    backend: str
    server: testing.Server
    ws: WebSocket = field(init=False)
    sent: int = 0
    cancelled: bool = False
    """Somebody outside has cancelled the handler."""
    native: int = 0
    """How often its task was cancelled natively."""
    interrupted: bool = False
    left_with: BaseException | None = None
    left_at: float | None = None
    handler: Any = None
    """The handler's asyncio task."""
    outer: anyio.CancelScope | None = None
    strange: list[BaseException] = field(default_factory=list)
    """What the calls of other tasks raised."""
    waiting: int = 0
    """Calls of other tasks that have not ended."""
    counts: list[str] = field(default_factory=list)


class ForeignCancellation(testing.Fault):
    """A raw send ends with a cancellation that nobody here has asked for."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def on_send(self, peer: testing.Peer, number: int, event: Any) -> None:
        if number == self._number:
            raise asyncio.CancelledError


def _faults(program: Program, backend: str) -> Iterator[testing.Fault]:
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
        raise anyio.EndOfStream  # an error of somebody else's, for instance
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


async def _main(run: Run, left: list[str]) -> None:
    before = {task.id for task in anyio.get_running_tasks()}
    server, options = run.server, Options(**dict(run.program.options))
    run.ws = open_websocket(server.scope, server.receive, server.send, options=options)
    async with anyio.create_task_group() as others:
        async with anyio.create_task_group() as handlers:
            for operation in run.program.outside:
                others.start_soon(_interfere, run, *operation)
            others.start_soon(_interfere, run, 40.0, 0, "peer vanishes")  # every wait ends
            handlers.start_soon(_handle, run)
        run.server.app_ended()
        with anyio.move_on_after(60):
            while run.waiting:  # noqa: ASYNC110 - it is no event of the program
                await anyio.sleep(0.5)
        if run.waiting:
            left.append(f"{run.waiting} calls of other tasks wait for ever")
        others.cancel_scope.cancel()
    for _ in range(8):
        await anyio.lowlevel.checkpoint()
    tasks = [str(task.name) for task in anyio.get_running_tasks() if task.id not in before]
    # What `gather` leaves behind when one of its tasks fails is the program's own.
    gathers = "gather" in repr(run.program.body)
    # A second native cancellation ends the wait for a send that the server cannot give up (X5).
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


def _run_on(backend: str, main: Callable[[], Any], seed: int) -> None:
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


# -------------------------------------------------------------------------------- what must hold

EXPECTED = (
    Bug,
    anyio.EndOfStream,
    anyio.ClosedResourceError,
    anyio.BusyResourceError,
    LocalProtocolError,
)
"""What a program may raise: its own errors, and calls that it must not make."""


def run_program(program: Program, backend: str, seed: int = 0) -> str:
    """Run a program; what went wrong, or an empty string."""
    (personality,) = {p for p in testing.SERVERS + testing.BASIC if p.name == program.personality}
    server = testing.Server(
        personality=personality,
        answers_close=program.answers_close,
        faults=list(_faults(program, backend)),
        timeout=LONGEST,
    )
    run, left = Run(program, backend, server), list[str]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            _run_on(backend, partial(_main, run, left), seed)
        except BaseException as exc:  # noqa: BLE001 - a livelock is no Exception
            if not (run.interrupted and _is_only(exc, (KeyboardInterrupt, *EXPECTED))):
                return "".join(traceback.format_exception(exc))
        problems = [*left, *_judge(run)]
        if run.interrupted:
            gc.collect()  # what the loop that was stopped has left says so here
            return "; ".join(problems)
        said = [str(warning.message) for warning in caught]
        # `_do_all` is the program's own: what an asyncio group refuses while it shuts down.
        lost = [text for text in said if "never awaited" in text and "_do_all" not in text]
        problems += lost
    return "; ".join(problems)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


def _is_only(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    return all(isinstance(leaf, kinds) for leaf in _leaves(error))


def _judge(run: Run) -> Iterator[str]:
    try:
        yield from _judge_counts(run)
    except Exception as exc:  # noqa: BLE001 - facts must stay readable
        yield f"the facts cannot be read: {exc!r}"
    yield from _judge_outcome(run)
    if run.interrupted:
        return  # on asyncio it stops the loop in the middle of everything
    yield from run.counts
    told = (*EXPECTED, WebSocketDisconnected)
    for error in run.strange:
        if not isinstance(error, told) and not _is_of_server(run, error):
            yield f"another task's call raised {error!r}"
    yield from _judge_wire(run)


def _judge_counts(run: Run) -> Iterator[str]:
    statistics = run.ws.statistics()
    if min(statistics.send_buffer_used, statistics.receive_buffer_used) < 0:
        yield f"a count is negative: {statistics}"
    if run.interrupted:
        return
    if statistics.send_buffer_used or statistics.receive_buffer_used:
        yield f"messages are left: {statistics}"
    if statistics.tasks_waiting_send:
        yield f"calls are counted as waiting: {statistics}"
    if run.ws.state != "closed":
        yield f"the state is {run.ws.state}"


def _is_of_server(run: Run, error: BaseException) -> bool:
    """Whether it is what the program lets a raw call raise."""
    kinds = {kind for kind, _ in run.program.faults}
    return (isinstance(error, RemoteProtocolError) and "garbage" in kinds) or (
        isinstance(error, asyncio.CancelledError) and "foreign cancellation" in kinds
    )


def _judge_outcome(run: Run) -> Iterator[str]:
    error = run.left_with
    if error is None or type(error) is WebSocketDisconnected:
        return
    for leaf in _leaves(error):
        if isinstance(leaf, KeyboardInterrupt) and run.interrupted:
            continue
        if isinstance(leaf, asyncio.CancelledError):
            if not (run.native or run.interrupted or _is_of_server(run, leaf)):
                yield f"a cancellation left the block, and nobody had asked for it: {error!r}"
        elif isinstance(leaf, WebSocketDisconnected):
            yield f"the disconnect left the block in a group: {error!r}"
        elif isinstance(leaf, RuntimeError) and "is shutting down" in str(leaf):
            continue  # an eager task of an asyncio group has failed before the next was created
        elif not isinstance(leaf, EXPECTED) and not _is_of_server(run, leaf):
            yield f"the block raised {error!r}"


def _judge_wire(run: Run) -> Iterator[str]:
    transcript = run.server.transcript
    foreign = any(kind == "foreign cancellation" for kind, _ in run.program.faults)
    for violation in transcript.violations:
        if not foreign or "cancelled" not in violation:
            yield violation
    closes = [line for line in transcript.lines if line.startswith(("app close", "app deny"))]
    if len(closes) > 1:
        yield f"it was closed twice: {closes}"
    messages = transcript.from_app
    if len(set(messages)) < len(messages):
        yield f"a message came twice: {messages}"


# -------------------------------------------------------------------------------- smaller programs


def kind_of(problem: str) -> str:
    """What makes two failures the same fault: the last line, without numbers and addresses."""
    last = problem.strip().splitlines()[-1] if problem else ""
    return "".join(c for c in last if not c.isdigit())[:60]


def smallest(program: Program, backend: str, seed: int) -> tuple[Program, str]:
    """A program that fails in the same way and of which nothing can be left out."""
    problem = run_program(program, backend, seed)
    kind, shrinking = kind_of(problem), True
    while shrinking:
        shrinking = False
        for smaller in _smaller(program):
            found = run_program(smaller, backend, seed)
            if found and kind_of(found) == kind:
                program, problem, shrinking = smaller, found, True
                break
    return program, problem


def _smaller(program: Program) -> Iterator[Program]:
    for name in ("outside", "faults", "body"):
        for fewer in _without_one(getattr(program, name), deep=name == "body"):
            if fewer or name != "body":
                yield replace(program, **{name: fewer})  # type: ignore[arg-type]
    defaults = {"grace_period": 5.0, "close_timeout": 5.0, "send_timeout": 30.0}
    defaults |= {"receive_buffer": 64, "send_buffer": 256, "incoming": "buffer"}  # type: ignore[dict-item]
    for at, (name, value) in enumerate(program.options):
        if value != defaults[name]:
            changed = list(program.options)
            changed[at] = (name, defaults[name])
            yield replace(program, options=tuple(changed))
    if program.personality != "silent" and any(p.name == "silent" for p in testing.BASIC):
        yield replace(program, personality="silent")
    if not program.answers_close:
        yield replace(program, answers_close=True)


def _without_one(operations: tuple[Any, ...], *, deep: bool) -> Iterator[tuple[Any, ...]]:
    for at, operation in enumerate(operations):
        yield operations[:at] + operations[at + 1 :]
        if not deep:
            continue
        for place, part in enumerate(operation):
            if isinstance(part, tuple):
                yield operations[:at] + part + operations[at + 1 :]
                for fewer in _without_one(part, deep=True):
                    inner = (*operation[:place], fewer, *operation[place + 1 :])
                    yield (*operations[:at], inner, *operations[at + 1 :])


def main(backend: str, first: int, last: int | None = None) -> None:
    """Run the programs of some seeds; print the smallest ones that fail, one of a kind."""
    import logging

    logging.disable(logging.CRITICAL)
    seen: dict[str, int] = {}
    for seed in range(first, (first if last is None else last) + 1):
        problem = run_program(make(seed), backend, seed)
        if seed % 500 == 0:
            gc.collect()
        if not problem:
            continue
        seen[kind_of(problem)] = seen.get(kind_of(problem), 0) + 1
        if seen[kind_of(problem)] > 1:
            continue
        program, problem = smallest(make(seed), backend, seed)
        print(
            f"backend {backend}, seed {seed}:\n{program}\n{problem.strip()[-1500:]}\n", flush=True
        )
    print(f"{seen or 'nothing found'}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
