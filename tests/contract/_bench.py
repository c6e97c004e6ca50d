"""What the contract tests share: run a body in a block, and check what is left behind."""

import asyncio
import gc
import math
import random
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import pytest

from tests._recognised import recognised
from wsnursery import Options, WebSocket, WebSocketDisconnected, open_websocket, testing

T = TypeVar("T")

Body = Callable[[WebSocket], Awaitable[object]]
Later = tuple[float, Callable[[], object]]
"""A moment, in seconds, and what happens then outside the block."""


@dataclass
class Ended:
    """How a block ended."""

    error: Exception | None
    """What it raised."""
    at: float
    """When it was left."""

    @property
    def own(self) -> WebSocketDisconnected:
        """What it raised, which must be a bare WebSocketDisconnected."""
        assert type(self.error) is WebSocketDisconnected, repr(self.error)
        return self.error


async def block(server: testing.Server, body: Body, *later: Later, **options: Any) -> Ended:
    """Run ``body`` in a block. Nothing may be left behind, and no rule of ASGI may be violated."""
    error: Exception | None = None
    async with testing.no_leaks(), anyio.create_task_group() as outside:
        for moment, action in later:
            outside.start_soon(_at, moment, action)
        try:
            async with _opened(server, **options) as ws:
                await body(ws)
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            error = exc
        ended_at = anyio.current_time()
        if anyio.current_effective_deadline() != -math.inf:  # not cancelled from outside
            assert cancelling() == 0
        outside.cancel_scope.cancel()
    assert server.transcript.violations == []
    return Ended(error, ended_at)


in_place = False
"""Whether `block` opens the WebSocket on a server that is recognised; see `over_both_paths`."""


def _opened(server: testing.Server, **options: Any) -> WebSocket:
    # Strict mode recognises no server, and a cancelled receive of granian loses an event.
    if in_place and not options.get("strict") and not server.personality.cancelled_receive_loses:
        return recognised(server, Options(**options))
    return open_websocket(server.scope, server.receive, server.send, options=Options(**options))


async def _at(moment: float, action: Callable[[], object]) -> None:
    await anyio.sleep_until(moment)
    action()


def cancelling() -> int:
    """The cancellations that asyncio counts for this task; on trio there is no such count."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return 0
    assert task is not None
    return task.cancelling()


def about(seconds: float) -> Any:
    """That moment or a little later, because the drain after the end takes about 10 ms."""
    return pytest.approx(seconds + 0.02, abs=0.03)


def closes(server: testing.Server) -> list[str]:
    """Every close frame or denial that the application sent."""
    return [line for line in server.transcript.lines if line.startswith(("app close", "app deny"))]


class Log:
    """Moments that a test wrote down, by name."""

    def __init__(self) -> None:
        self.moments: dict[str, float] = {}

    def note(self, name: str) -> None:
        """Note that it happens now."""
        assert name not in self.moments, f"{name} happened twice"
        self.moments[name] = anyio.current_time()

    async def sleeper(self, name: str = "sleeper") -> None:
        """Sleep for ever, and note when that was interrupted."""
        try:
            await anyio.sleep_forever()
        finally:
            self.note(name)


async def notified_by(call: Callable[[], Awaitable[object]]) -> WebSocketDisconnected:
    """Make a call that must raise WebSocketDisconnected, and return it."""
    with pytest.raises(WebSocketDisconnected) as caught:
        await call()
    return caught.value


def on(backend: str) -> pytest.MarkDecorator:
    """Run the test on one backend alone."""
    return pytest.mark.parametrize("anyio_backend", [backend], indirect=True)


BACKENDS = ("asyncio", "trio")

MAX_TURNS = 5_000
"""Turns of an event loop that a run of one conversation never needs at one instant."""


def run(backend: str, main: Callable[[], Awaitable[T]]) -> T:
    """Run an async function on its own virtual time. One that never ends raises an error.

    trio shuffles tasks, but here their order is the same every time.
    """
    name, options = testing.virtual_backend(backend, max_turns=MAX_TURNS)
    with ordered():
        return anyio.run(main, backend=name, backend_options=options)


@contextmanager
def ordered(seed: int = 0) -> Iterator[None]:
    """While the block lasts, trio shuffles its tasks in the way that the seed gives."""
    # What trio's own Hypothesis support does.
    internals: Any = import_module("trio._core._run")
    before = internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r
    internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r = True, random.Random(seed)
    try:
        yield
    finally:
        internals._ALLOW_DETERMINISTIC_SCHEDULING, internals._r = before


def run_all(backend: str, cases: Iterable[tuple[str, Callable[[], Awaitable[object]]]]) -> None:
    """Run many async functions, one after the other. The first one that fails is named.

    A coroutine that is never awaited is a failure, too. Objects of a failed run are freed in the
    test.

    Args:
        backend: On which backend.
        cases: What to say of each, and the function.
    """
    failure = ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name, main in cases:
            try:
                run(backend, main)
            except BaseException as exc:  # noqa: BLE001 - a livelock is not an `Exception`
                failure = f"{name}\n{''.join(traceback.format_exception(exc))}"
                break
        gc.collect()
    if failure:
        pytest.fail(failure, pytrace=False)
    assert [str(warning.message) for warning in caught] == []


async def checkpoints(number: int) -> None:
    """Let the other tasks run, this many times."""
    for _ in range(number):
        await anyio.lowlevel.checkpoint()


def leaves(error: BaseException | None) -> list[BaseException]:
    """The exceptions in nested groups, or the exception itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [] if error is None else [error]


def in_chain(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether an exception of a kind is shown in the traceback of another one."""
    todo, seen = leaves(error), set[int]()
    while todo:
        each = todo.pop()
        if isinstance(each, kind):
            return True
        if id(each) not in seen:
            seen.add(id(each))
            todo += [*leaves(each.__context__), *leaves(each.__cause__)]
    return False
