"""The origin of a cancellation: asyncio's counts before, during and after the block."""

import asyncio
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

from tests.contract._bench import block, cancelling
from wsnursery import WebSocket, testing
from wsnursery._backend import cancellation
from wsnursery._backend.cancellation import (
    NO_LEDGER,
    AsyncioLedger,
    TrioLedger,
    current_ledger,
    is_cancellation,
)

asyncio_only = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


@pytest.fixture
def leaky(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before CPython 3.13, whatever version runs here."""
    monkeypatch.setattr(cancellation, "_LEAKS", True)


async def test_the_ledger_of_the_running_backend(anyio_backend_name: str) -> None:
    kind = {"trio": TrioLedger, "asyncio": AsyncioLedger}[anyio_backend_name]
    assert type(current_ledger()) is kind


async def test_the_cancellation_of_the_running_backend() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(BaseException, check=is_cancellation) as caught:
            await anyio.lowlevel.checkpoint()
        raise caught.value
    assert not is_cancellation(ValueError())


async def test_there_is_nothing_to_do_on_trio() -> None:
    group = anyio.create_task_group()
    assert NO_LEDGER.watch(group) is group
    NO_LEDGER.unwatch(group)
    NO_LEDGER.about_to_cancel()
    NO_LEDGER.settle()
    assert not NO_LEDGER.is_our_cancellation(asyncio.CancelledError())


def from_anyio() -> asyncio.CancelledError:
    return asyncio.CancelledError("Cancelled via cancel scope 7f00; reason: whatever")


def with_context(exc: BaseException, context: BaseException) -> BaseException:
    exc.__context__ = context
    return exc


async def natively_cancelled() -> "asyncio.Task[object]":
    """The running task, after a native cancellation has reached it."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(0)
    return task


# contract: X5
@asyncio_only
@pytest.mark.parametrize(
    ("make", "ours"),
    [
        (from_anyio, True),
        # An `asyncio.TaskGroup` that fails requests it again, without anyio's message.
        (asyncio.CancelledError, True),
        (lambda: with_context(asyncio.CancelledError(), ValueError()), True),
        (ValueError, False),
    ],
)
async def test_which_cancellation_is_ours(
    make: Callable[[], BaseException], ours: bool, leaky: None
) -> None:
    ledger = AsyncioLedger()
    assert not ledger.is_our_cancellation(make())
    ledger.about_to_cancel()
    assert ledger.is_our_cancellation(make()) is ours


# contract: X5
@asyncio_only
async def test_one_more_request_than_at_the_cut_is_not_ours(leaky: None) -> None:
    ledger = AsyncioLedger()
    ledger.about_to_cancel()
    assert (await natively_cancelled()).cancelling() == 1
    assert not ledger.is_our_cancellation(from_anyio())
    ledger.settle()
    assert cancelling() == 0


# contract: X5
@asyncio_only
async def test_a_cancellation_around_the_block_is_not_ours(leaky: None) -> None:
    ledger = AsyncioLedger()
    ledger.about_to_cancel()
    with anyio.CancelScope() as scope:
        scope.cancel()
        assert not ledger.is_our_cancellation(from_anyio())
        await anyio.lowlevel.checkpoint()


# contract: X5
@asyncio_only
@pytest.mark.parametrize("inner", [False, True])
async def test_a_cut_during_a_native_cancellation_is_not_ours(leaky: None, inner: bool) -> None:
    """It has been requested, and has not reached the task yet."""
    ledgers: list[AsyncioLedger] = []

    async def wait() -> None:
        ledgers.append(AsyncioLedger())
        await (asyncio.create_task(asyncio.sleep(9)) if inner else asyncio.sleep(9))

    task = asyncio.create_task(wait())
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    ledgers[0].about_to_cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ledgers[0].is_our_cancellation(from_anyio())


@asyncio_only
async def test_the_first_cut_counts(leaky: None) -> None:
    ledger = AsyncioLedger()
    ledger.about_to_cancel()
    task = await natively_cancelled()
    ledger.about_to_cancel()
    assert not ledger.is_our_cancellation(from_anyio())
    task.uncancel()


@asyncio_only
async def test_where_nothing_leaks_nothing_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is still there is a genuine one."""
    monkeypatch.setattr(cancellation, "_LEAKS", False)
    ledger = AsyncioLedger()
    ledger.about_to_cancel()
    task = await natively_cancelled()
    assert not ledger.is_our_cancellation(
        with_context(from_anyio(), ExceptionGroup("", [ValueError()]))
    )
    ledger.settle()
    assert task.uncancel() == 0


# contract: X5
@asyncio_only
async def test_a_request_that_a_failed_group_explains_is_ours(leaky: None) -> None:
    ledger = AsyncioLedger()
    ledger.about_to_cancel()
    await natively_cancelled()
    assert ledger.is_our_cancellation(
        with_context(from_anyio(), ExceptionGroup("", [ValueError()]))
    )
    ledger.settle()
    assert cancelling() == 0


@asyncio_only
async def test_the_requests_of_a_scope_are_not_native() -> None:
    """If this fails, anyio has changed, and a count may be one too high or too low."""
    task = asyncio.current_task()
    assert task is not None
    with anyio.CancelScope() as outer, anyio.CancelScope():
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await anyio.sleep(1)
        assert (task.cancelling(), cancellation._native_requests(task)) == (1, 0)
        task.cancel()
        assert (task.cancelling(), cancellation._native_requests(task)) == (2, 1)
        task.uncancel()
    assert cancelling() == 0


# contract: X5
@asyncio_only
@pytest.mark.parametrize("by", ["call", "deadline", "child"])
async def test_every_cancellation_of_a_watched_group_is_noticed(by: str) -> None:
    ledger = AsyncioLedger()
    async with ledger.watch(anyio.create_task_group()) as group:
        assert not ledger.is_our_cancellation(from_anyio())
        if by == "call":
            group.cancel_scope.cancel()
        elif by == "deadline":
            group.cancel_scope.deadline = anyio.current_time() + 0.01
        else:
            group.start_soon(cancelled_by_itself)
        with pytest.raises(asyncio.CancelledError) as caught:
            await anyio.sleep(1)
    assert ledger.is_our_cancellation(caught.value)


async def cancelled_by_itself() -> None:
    raise asyncio.CancelledError


# contract: X5, X9
@asyncio_only
async def test_what_anyio_does_with_a_cancellation_that_leaves_is_not_noticed() -> None:
    ledger = AsyncioLedger()
    foreign = asyncio.CancelledError("of the server")
    with pytest.raises(asyncio.CancelledError):
        async with ledger.watch(anyio.create_task_group()) as group:
            ledger.unwatch(group)
            raise foreign
    assert group.cancel_scope.cancel_called
    assert not ledger.is_our_cancellation(foreign)


async def leave_a_request_behind() -> None:
    """What an `asyncio.TaskGroup` does before 3.13 whose child fails while it is being left."""

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())


# contract: X5
@asyncio_only
async def test_a_group_of_asyncio_inside_the_block() -> None:
    """`block` looks at the count afterwards."""

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await leave_a_request_behind()

    ended = await block(testing.Server(), body)
    assert ended.error is None


# contract: X5, D5
@asyncio_only
@pytest.mark.parametrize("swallowed", [False, True])
async def test_a_group_of_asyncio_inside_a_block_that_the_end_cuts(swallowed: bool) -> None:
    server = testing.Server()

    async def body(ws: WebSocket) -> None:
        await ws.accept()
        await leave_a_request_behind()
        try:
            await anyio.sleep(10)
        finally:
            if swallowed:
                await leave_a_request_behind()

    ended = await block(server, body, (3, server.peer.close))
    assert ended.own.code == 1000


def test_a_native_cancellation_is_found_behind_what_replaced_it() -> None:
    replaced = ValueError("in the clean-up")
    assert not cancellation._has_native_cancellation(replaced)
    replaced.__context__ = asyncio.CancelledError()
    assert cancellation._has_native_cancellation(replaced)
