"""X5, X6, X9: cancellations and interrupts that do not come through a cancel scope."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests._recognised import recognised
from tests.contract._bench import BACKENDS, checkpoints, on, run, run_all
from wsnursery import (
    LocalProtocolError,
    Options,
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
)


def opened(server: testing.Server, **options: object) -> WebSocket:
    return open_websocket(
        server.scope,
        server.receive,
        server.send,
        options=Options(**options),  # type: ignore[arg-type]
    )


Path = Callable[..., WebSocket]
both_paths = pytest.mark.parametrize(
    "path", [opened, recognised], ids=["through_tasks", "in_place"]
)


async def hold(ws: WebSocket) -> None:
    async with ws:
        await ws.accept()
        await anyio.sleep_forever()


# contract: X5, L2
@on("asyncio")
@pytest.mark.parametrize("turn", range(1, 12))
async def test_the_state_after_two_native_cancellations_in_the_handshake(turn: int) -> None:
    """The second one ends the wait for the denial, which answers an error of the server."""
    server = testing.Server(faults=[testing.FailReceive(1, ValueError("of a middleware"))])
    ws = opened(server)

    async def handle() -> None:
        with suppress(ValueError):
            await hold(ws)

    handling = asyncio.create_task(handle())
    await checkpoints(turn)
    handling.cancel()
    await checkpoints(1)
    handling.cancel()
    await asyncio.wait([handling])
    assert ws.state == "closed"


# contract: L2
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_timer_stops_although_a_send_of_another_task_was_notified_last(
    backend: str,
) -> None:
    async def main(sent: int, cancelled: int) -> None:
        server = testing.Server()

        async def other(ws: WebSocket) -> None:
            await checkpoints(sent)
            with suppress(WebSocketDisconnected, anyio.ClosedResourceError, LocalProtocolError):
                await ws.send("x")
            await anyio.sleep(10)

        async with anyio.create_task_group() as others:
            with anyio.CancelScope() as scope:
                async with opened(server) as ws:
                    others.start_soon(other, ws)
                    await ws.accept()
                    await checkpoints(cancelled)
                    scope.cancel()
                    await anyio.sleep_forever()
            await anyio.sleep(1)
            names = [task.name or "" for task in anyio.get_running_tasks()]
            assert [name for name in names if name.startswith("wsnursery")] == []

    turns = product(range(6, 14), range(6))
    run_all(backend, [(repr(case), partial(main, *case)) for case in turns])


class StallAWhile(testing.Fault):
    """The first raw send cannot be cancelled for 40 s."""

    async def on_send(self, peer: testing.Peer, number: int, event: Any) -> None:
        if number == 1:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(40)


# contract: X5, L2
@on("asyncio")
@pytest.mark.parametrize("times", [1, 2])
async def test_a_native_cancellation_while_the_block_waits_for_a_stuck_raw_send(
    times: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The first one is kept until the raw send returns; the second one ends the wait."""
    server = testing.Server(faults=[StallAWhile()])
    handling = asyncio.create_task(hold(opened(server, send_timeout=1, close_timeout=1)))
    await asyncio.sleep(10)
    for _ in range(times):
        handling.cancel()
        await asyncio.sleep(5)
    with pytest.raises(asyncio.CancelledError):
        await handling
    assert anyio.current_time() == (40 if times == 1 else 20)
    assert handling.cancelling() == times
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert ("wsnursery sender" in names) == (times == 2)
    assert len([r for r in caplog.records if "stuck" in r.getMessage()]) == 1
    await asyncio.sleep(30)


async def fail(seconds: float) -> None:
    await anyio.sleep(seconds)
    raise LookupError


async def shielded() -> None:
    with anyio.move_on_after(2, shield=True):
        await anyio.sleep_forever()


async def group_that_fails_slowly() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(fail, 0)
        group.start_soon(shielded)


async def started_group_that_fails_slowly(*, task_status: Any) -> None:
    task_status.started()
    await group_that_fails_slowly()


# contract: X5
@on("asyncio")
@pytest.mark.parametrize("way", ["start_soon", "start"])
@pytest.mark.parametrize("why", ["native", "failure", "cancel"])
async def test_what_the_scopes_of_a_child_ask_for_is_not_taken_back_from_the_body(
    way: str, why: str
) -> None:
    """A group in a child fails, the block is cancelled, and then the handler is, natively."""

    async def handle() -> None:
        async with opened(testing.Server()) as ws:
            await ws.accept()
            if way == "start":
                await ws.start(started_group_that_fails_slowly)
            else:
                ws.start_soon(group_that_fails_slowly)
            if why == "failure":
                ws.start_soon(fail, 0.5)
            elif why == "cancel":
                asyncio.get_running_loop().call_later(0.5, ws.cancel_scope.cancel)
            await anyio.sleep_forever()

    handling = asyncio.create_task(handle())
    await asyncio.sleep(1)
    handling.cancel()
    with pytest.raises(ExceptionGroup):
        await handling
    assert handling.cancelling() == 1


# contract: X5
@on("asyncio")
async def test_a_native_cancellation_while_a_failed_block_waits_for_its_children() -> None:
    """The group of errors is the body's: no `asyncio.TaskGroup` has left a request behind."""

    async def handle() -> None:
        async with opened(testing.Server()) as ws:
            await ws.accept()
            ws.start_soon(shielded)
            await asyncio.sleep(0.5)
            raise ExceptionGroup("of the body", [LookupError()])

    handling = asyncio.create_task(handle())
    await asyncio.sleep(1)
    handling.cancel()
    with pytest.raises(ExceptionGroup, match="of the body"):
        await handling
    assert handling.cancelling() == 1


def cancel_at_once(ws: WebSocket) -> None:
    ws.cancel_scope.cancel()


def set_a_deadline(ws: WebSocket) -> None:
    ws.cancel_scope.deadline = anyio.current_time() + 1


# contract: X3, X5
@on("asyncio")
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("cancel", [cancel_at_once, set_a_deadline])
async def test_the_handler_cancels_its_block_after_it_has_swallowed_a_native_cancellation(
    cancel: Callable[[WebSocket], None], again: bool
) -> None:
    """Its own cancellation stays in the block. A native one in the same turn leaves the block."""

    async def handle() -> None:
        async with opened(testing.Server()) as ws:
            await ws.accept()
            with suppress(asyncio.CancelledError):
                await anyio.sleep_forever()
            cancel(ws)
            if again:
                asyncio.get_running_loop().call_at(
                    ws.cancel_scope.deadline if cancel is set_a_deadline else 0, handling.cancel
                )
            await anyio.sleep_forever()

    handling = asyncio.create_task(handle())
    await asyncio.sleep(1)
    handling.cancel()
    await asyncio.wait([handling])
    assert handling.cancelled() is again


# contract: X5
@on("asyncio")
@pytest.mark.parametrize("native", [0, 1])
async def test_a_body_that_replaces_the_cancellation_of_a_scope_around_the_block(
    native: int,
) -> None:
    """The scope withdraws its requests itself, and the native one that follows stays counted."""
    server = testing.Server(faults=[testing.StallSend(2)])

    async def handle() -> None:
        with anyio.CancelScope() as outer:
            asyncio.get_running_loop().call_later(1, outer.cancel)
            async with opened(server, close_timeout=1) as ws:
                await ws.accept()
                try:
                    await anyio.sleep_forever()
                except asyncio.CancelledError:
                    raise LookupError from None

    handling = asyncio.create_task(handle())
    await asyncio.sleep(1.5)
    for _ in range(native):
        handling.cancel()
    with pytest.raises(LookupError):
        await handling
    assert handling.cancelling() == native


# contract: X5
@on("asyncio")
async def test_a_native_cancellation_after_a_body_that_swallows_the_blocks_own() -> None:
    async def handle() -> None:
        async with opened(testing.Server()) as ws:
            await ws.accept()
            ws.start_soon(shielded)
            await asyncio.sleep(0.5)
            ws.cancel_scope.cancel()
            with suppress(asyncio.CancelledError):
                await anyio.sleep_forever()

    handling = asyncio.create_task(handle())
    await asyncio.sleep(1)
    handling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handling
    assert handling.cancelling() == 1


async def interrupt() -> None:
    raise KeyboardInterrupt


# contract: X6, X9
@both_paths
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupt_before_the_sender_task_has_begun(backend: str, path: Path) -> None:
    """On asyncio it stops the loop, which then cancels a task that has made no step yet."""

    left: list[BaseException] = []

    async def main() -> None:
        server = testing.Server(faults=[testing.Delay(1)])
        try:
            async with path(server) as ws:
                await ws.accept()
                await anyio.sleep(5)  # the sender task of the handshake has ended
                async with anyio.create_task_group() as group:
                    group.start_soon(ws.send, "x")
                    group.start_soon(interrupt)
        except BaseException as exc:  # noqa: BLE001 - it is looked at
            left.append(exc)

    with suppress(KeyboardInterrupt):
        run(backend, main)
    assert [type(error) for error in left] == [KeyboardInterrupt]


# contract: X6, X9
@both_paths
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_interrupt_before_the_receiver_task_has_begun(backend: str, path: Path) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as others:
            others.start_soon(hold, path(testing.Server()))
            others.start_soon(interrupt)

    with pytest.raises(BaseExceptionGroup if backend == "trio" else KeyboardInterrupt):
        run(backend, main)
