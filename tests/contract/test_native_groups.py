"""X3, X5: asyncio's task groups and timeouts that fail in the turn of the connection's
cancellation.

Each run has its own event loop, because a cancellation that leaves a block leaves the test.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import product

import anyio
import pytest

from tests.contract._bench import block, checkpoints, run_all
from wsnursery import WebSocket, WebSocketDisconnected, testing

TURNS = range(8)


def broken_at(number: int) -> testing.Server:
    return testing.Server(faults=[testing.FailSend(number, BrokenPipeError("gone"))])


def run_product(main: Callable[..., Awaitable[None]], *values: Iterable[object]) -> None:
    """Run it with every combination of arguments."""
    cases = product(*values)
    run_all("asyncio", [(repr(case), partial(main, *case)) for case in cases])


async def pump(ws: WebSocket, cleanup: float | None) -> None:
    try:
        while True:
            await ws.send("x")
    finally:
        if cleanup is not None:
            await asyncio.sleep(cleanup)


async def clean_up(turns: int) -> None:
    """A clean-up that awaits. A cancellation that was not withdrawn interrupts it."""
    await a_few(turns)
    await asyncio.sleep(0.01)


async def a_few(turns: int) -> None:
    """Clean up in a task of a group, without a timer.

    While anyio cancels the group in every turn of the loop, and the group goes on waiting for this
    task, virtual time stands still.
    """
    for _ in range(turns):
        await asyncio.sleep(0)


async def broken_once(body: Callable[[WebSocket], Awaitable[None]], grace: float) -> None:
    """The third raw send fails: one bare WebSocketDisconnected leaves the block."""
    ended = await block(broken_at(3), body, grace_period=grace)
    assert isinstance(ended.own.__cause__, BrokenPipeError)


# contract: X3, X5
def test_the_group_fails_when_the_grace_period_is_over() -> None:
    """The child is notified and raises, and the cancellation comes before the group knows that."""

    async def main(turns: int, cleanup: float | None, grace: float) -> None:
        async def body(ws: WebSocket) -> None:
            await ws.accept()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(pump(ws, cleanup))
            finally:
                await clean_up(turns)

        await broken_once(body, grace)

    run_product(main, TURNS, (None, 0.0, 0.05, 0.2), (0, 0.05, 5))


# contract: X3, X5
def test_the_group_fails_some_turns_after_the_cut() -> None:
    async def main(delay: int, turns: int) -> None:
        server = testing.Server()

        async def body(ws: WebSocket) -> None:
            await ws.accept()

            async def told_and_slow() -> None:
                try:
                    await ws.receive()
                finally:
                    # Under a shield, or the cancellation of the group would end it.
                    with anyio.CancelScope(shield=True):
                        await checkpoints(delay)

            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(told_and_slow())
                    group.create_task(asyncio.sleep(3600))
            finally:
                await clean_up(turns)

        ended = await block(server, body, (1, server.peer.vanish), grace_period=0)
        assert ended.own.code in (1006, None)

    run_product(main, TURNS, (0, 1))


# contract: X3, X5
def test_nested_groups_fail_in_the_turn_of_the_cut() -> None:
    async def nested(ws: WebSocket, depth: int, turns: int) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                if depth:
                    group.create_task(nested(ws, depth - 1, turns))
                group.create_task(pump(ws, None))
        finally:
            await a_few(turns)

    async def main(depth: int, turns: int, grace: float) -> None:
        async def body(ws: WebSocket) -> None:
            await ws.accept()
            try:
                await nested(ws, depth, turns)
            finally:
                await clean_up(turns)

        await broken_once(body, grace)

    run_product(main, (1, 2, 3), TURNS, (0, 0.05))


async def in_timeout(inner: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(50):
        await inner()


async def in_wait_for(inner: Callable[[], Awaitable[None]]) -> None:
    await asyncio.wait_for(inner(), 50)


async def in_group(inner: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(inner())  # type: ignore[arg-type]


# contract: X3, X5
@pytest.mark.parametrize("around", [in_timeout, in_wait_for, in_group])
def test_asyncios_own_tools_around_a_group_that_fails(
    around: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]],
) -> None:
    async def main(turns: int, grace: float) -> None:
        async def body(ws: WebSocket) -> None:
            await ws.accept()

            async def inner() -> None:
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(pump(ws, None))
                finally:
                    await a_few(turns)

            try:
                await around(inner)
            finally:
                await clean_up(turns)

        await broken_once(body, grace)

    run_product(main, TURNS, (0, 0.05, 5))


# contract: X3, X5
def test_a_timeout_of_asyncios_expires_in_the_turn_of_the_cut() -> None:
    """The cut makes it believe in a native cancellation, and it lets its own one out."""

    async def main(turns: int) -> None:
        server = testing.Server()

        async def body(ws: WebSocket) -> None:
            await ws.accept()
            with suppress(TimeoutError):
                async with asyncio.timeout(0), asyncio.TaskGroup() as group:
                    group.create_task(ws.send("x"))

        async def shut_down() -> None:
            await a_few(turns)
            server.shut_down()

        async with anyio.create_task_group() as outside:
            outside.start_soon(shut_down)
            ended = await block(server, body)
        assert ended.error is None or isinstance(ended.error, WebSocketDisconnected)

    run_product(main, range(20))


# contract: X3, X5
def test_a_group_that_fails_in_a_child() -> None:
    async def main(turns: int, grace: float) -> None:
        async def child(ws: WebSocket) -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(pump(ws, None))
            finally:
                await clean_up(turns)

        async def body(ws: WebSocket) -> None:
            await ws.accept()
            ws.start_soon(child, ws)
            with suppress(WebSocketDisconnected):
                await ws.receive()

        ended = await block(broken_at(3), body, grace_period=grace)
        assert ended.error is None or isinstance(ended.own.__cause__, BrokenPipeError)

    run_product(main, TURNS, (0, 0.05, 5))


async def timeout_at_once(ws: WebSocket) -> None:
    ws.cancel_scope.cancel()
    async with asyncio.timeout(0):
        await asyncio.gather(asyncio.sleep(0))


async def timeout_in_a_close(ws: WebSocket) -> None:
    ws.cancel_scope.cancel()
    async with asyncio.timeout(0):
        await ws.close()


async def a_group_that_fails_afterwards(ws: WebSocket) -> None:
    async def cancel_and_fail() -> None:
        try:
            ws.cancel_scope.cancel()
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(0)
            raise ValueError

    async with asyncio.TaskGroup() as group:
        group.create_task(cancel_and_fail())


async def a_group_that_has_failed(ws: WebSocket) -> None:
    """Before CPython 3.13 it leaves its request to cancel behind."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(receive(ws))
    finally:
        ws.cancel_scope.cancel()
        await ws.send("x")


async def receive(ws: WebSocket) -> None:
    await ws.receive()


USES = [
    timeout_at_once,
    timeout_in_a_close,
    a_group_that_fails_afterwards,
    a_group_that_has_failed,
]


# contract: X3, X5
@pytest.mark.parametrize("use", USES)
def test_asyncios_own_tools_when_the_handler_cancels_its_block(
    use: Callable[[WebSocket], Awaitable[None]],
) -> None:
    """They hide the cancellation from anyio, which then lets it leave the block."""

    async def main(after: int) -> None:
        server = testing.Server()

        async def body(ws: WebSocket) -> None:
            await ws.accept()
            await a_few(after)
            await use(ws)

        ended = await block(server, body, (1, server.peer.vanish))
        # What leaves is never a cancellation, which `block` would let out.
        if use is a_group_that_fails_afterwards:
            assert type(ended.error) is ExceptionGroup
        else:
            assert ended.error is None or isinstance(ended.error, WebSocketDisconnected)

    run_product(main, TURNS)


def cancel_at_once(ws: WebSocket) -> None:
    ws.cancel_scope.cancel()


def cancel_later(ws: WebSocket) -> None:
    asyncio.get_running_loop().call_later(0.5, ws.cancel_scope.cancel)


def set_a_deadline(ws: WebSocket) -> None:
    ws.cancel_scope.deadline = anyio.current_time() + 0.5


async def fail_in_the_next_turn() -> None:
    await asyncio.sleep(0)
    raise ValueError


# contract: X3, X5
@pytest.mark.parametrize(
    ("cancel", "first"),
    [
        (cancel_at_once, False),
        (cancel_later, False),
        (cancel_later, True),
        (set_a_deadline, False),
        (set_a_deadline, True),
    ],
)
def test_the_handler_cancels_its_block_after_a_group_that_failed(
    cancel: Callable[[WebSocket], None], first: bool
) -> None:
    """The handler has caught the error of the group, and nothing refers to it any more."""

    async def main(turns: int) -> None:
        async def body(ws: WebSocket) -> None:
            await ws.accept()
            if first:
                cancel(ws)
            with suppress(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail_in_the_next_turn())
            if not first:
                cancel(ws)
            await a_few(turns)
            await asyncio.sleep(3600)

        ended = await block(testing.Server(), body)
        assert ended.error is None

    run_product(main, TURNS)
