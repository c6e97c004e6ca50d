"""L3, C5: calls of other tasks in every turn of the loop while a block is being left."""

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import pytest

from tests.contract._bench import BACKENDS, checkpoints, closes, run_all
from wsnursery import (
    WebSocket,
    WebSocketDisconnected,
    open_websocket,
    testing,
    websocket_app,
)

TURNS = range(30)
"""The turns, counted from the moment at which the body begins to end. Leaving takes fewer turns, or
waits for a time that passes when all tasks wait."""

TURNS_AFTER = 3
"""After this many turns since the exit of the block, all later turns are the same."""

Call = Callable[[WebSocket], Awaitable[object]]


@dataclass
class Race:
    """What happened in one run."""

    server: testing.Server
    left_with: BaseException | None = None
    call_raised: list[BaseException] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    left_at: float = math.inf
    left_before_the_call: bool = False
    statistics: Any = None

    def check(self) -> None:
        for error in self.call_raised:
            # `WebSocketDisconnected` means that the peer was quicker (S7).
            assert isinstance(error, anyio.ClosedResourceError | WebSocketDisconnected), error
        assert self.server.transcript.violations == []
        assert len(closes(self.server)) <= 1, closes(self.server)
        assert self.left_at <= 11, "the block took longer than close_timeout"
        assert set(self.children) <= {"began", "ended"}
        assert self.children.count("began") == self.children.count("ended")
        assert self.statistics.send_buffer_used == 0
        assert self.statistics.tasks_waiting_send == 0


class MyError(Exception):
    """An error of the handler."""


async def end(how: str, ws: WebSocket, server: testing.Server, outer: anyio.CancelScope) -> None:
    """Begin to leave the block. The rest of the body takes no turn."""
    if how == "raise":
        raise MyError
    if how == "cancel":
        outer.cancel()
    elif how == "child":
        ws.start_soon(fail)
        await anyio.sleep_forever()
    elif how == "peer":
        server.peer.close(4000)
        async for _ in ws:
            pass
    elif how == "broken":
        with server.inject(testing.FailSend(1, OSError("gone"))), suppress(WebSocketDisconnected):
            await ws.send("to a dead peer")
    elif how == "close":
        await ws.close()


async def fail() -> None:
    raise MyError


WAYS = ("return", "raise", "cancel", "child", "peer", "broken", "close")


async def race(call: Call, how: str, turns: int, **server_arguments: Any) -> Race:
    """Leave a block while a task that is not part of it makes a call this many turns later."""
    result = Race(testing.Server(**server_arguments))
    server, begun = result.server, anyio.Event()
    ws = open_websocket(server.scope, server.receive, server.send)

    async def handler() -> None:
        with anyio.CancelScope() as outer:
            try:
                async with ws:
                    await ws.accept()
                    await ws.send("hello")
                    begun.set()
                    await end(how, ws, server, outer)
            except Exception as exc:  # noqa: BLE001 - the test looks at it
                result.left_with = exc
        result.left_at = anyio.current_time()
        result.statistics = ws.statistics()

    async def other() -> None:
        await begun.wait()
        await checkpoints(turns)
        result.left_before_the_call = result.statistics is not None
        try:
            await call(ws)
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            result.call_raised.append(exc)

    async with testing.no_leaks(), anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        tasks.start_soon(handler)
    return result


def swept(backend: str, call: Call, **server_arguments: Any) -> None:
    """Every way to leave, and every turn until the block has been left."""
    run_all(backend, in_every_turn(partial(race, call, **server_arguments)))


def in_every_turn(
    one: Callable[[str, int], Awaitable[Race]],
) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """Name and make the runs, one after the other, because each decides whether there is another.

    Args:
        one: Leave a block in this way, with a call so many turns later.
    """
    for how in WAYS:
        left = 0

        async def main(how: str, turns: int) -> None:
            nonlocal left
            result = await one(how, turns)
            result.check()
            left += result.left_before_the_call

        for turns in TURNS:
            name = f"the block ends by {how!r}, the call comes {turns} turns later"
            yield name, partial(main, how, turns)
            if left == TURNS_AFTER:
                break


async def close(ws: WebSocket) -> None:
    await ws.close(1012)


async def send(ws: WebSocket) -> None:
    await ws.send("late")


async def send_nowait(ws: WebSocket) -> None:
    ws.send_nowait("late")


async def flush(ws: WebSocket) -> None:
    await ws.flush()


async def child() -> None:
    await anyio.sleep(0.01)


async def start_soon(ws: WebSocket) -> None:
    ws.start_soon(child)


async def cancel(ws: WebSocket) -> None:
    ws.cancel_scope.cancel()


SERVERS: dict[str, dict[str, Any]] = {
    "the peer answers": {},
    "the peer does not answer": {"answers_close": False},
    "granian": {"personality": testing.GRANIAN},
    "every call waits": {"faults": [testing.Delay(2)]},
}


# contract: L3, C5, C1
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("call", "server"),
    [
        (call, server)
        for call in (close, send, send_nowait, flush, start_soon, cancel)
        for server in SERVERS
    ],
)
def test_a_call_in_every_turn_of_leaving(backend: str, server: str, call: Call) -> None:
    swept(backend, call, **SERVERS[server])


# contract: L3, C5
@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("answers", [True, False])
def test_close_again_and_again(backend: str, answers: bool) -> None:
    """The administrator's loop lets time pass, because otherwise nothing would ever end."""

    async def many_closes(ws: WebSocket) -> None:
        while True:
            for _ in range(20):
                await ws.close(1012)
            await anyio.sleep(0.1)

    swept(backend, many_closes, answers_close=answers)


# contract: L3, L5
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_start_soon_has_taken_runs(backend: str) -> None:
    """The child is started, to its end or its cancellation, or the call is refused: never lost."""

    async def one(how: str, turns: int) -> Race:
        seen: list[str] = []

        async def noted() -> None:
            seen.append("began")
            try:
                await anyio.sleep(0.01)
            finally:
                seen.append("ended")

        async def call(ws: WebSocket) -> None:
            ws.start_soon(noted)
            seen.append("taken")

        result = await race(call, how, turns)
        if "taken" in seen:
            # One that is cancelled before its first step does not begin, as in any group.
            assert seen in (["taken", "began", "ended"], ["taken"]), seen
        else:
            assert seen == []
            assert len(result.call_raised) == 1
        return result

    run_all(backend, in_every_turn(one))


# contract: L3, C2
@pytest.mark.parametrize("backend", BACKENDS)
def test_close_all_ends_every_connection_at_any_moment(backend: str) -> None:
    """A connection that is just leaving does not keep the others open."""

    async def main(turns: int) -> None:
        begun = anyio.Event()

        @websocket_app
        async def app(ws: WebSocket) -> None:
            await ws.accept()
            await ws.send("hello")
            if ws.scope["path"] == "/short":
                begun.set()
                return
            await anyio.sleep_forever()

        servers = [testing.Server(path=path) for path in ("/long", "/short", "/long")]
        async with testing.no_leaks(), anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(app, server.scope, server.receive, server.send)
            await begun.wait()
            await checkpoints(turns)
            await app.close_all(1012)
        assert [len(closes(server)) for server in servers] == [1, 1, 1]
        assert [closes(servers[at])[0][:14] for at in (0, 2)] == ["app close 1012"] * 2
        assert anyio.current_time() < 11

    run_all(backend, [(f"{turns} turns later", partial(main, turns)) for turns in TURNS])


# contract: C5, L7
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_block_that_is_closed_while_it_is_left_can_be_cancelled(backend: str) -> None:

    async def main(turns: int) -> None:
        server = testing.Server(personality=testing.GRANIAN, answers_close=False)
        begun = anyio.Event()
        ws = open_websocket(server.scope, server.receive, server.send)

        async def admin() -> None:
            await begun.wait()
            await checkpoints(turns)
            with suppress(anyio.ClosedResourceError):
                await ws.close(1012)

        with anyio.move_on_after(1):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(admin)
                async with ws:
                    await ws.accept()
                    await ws.send("hello")
                    begun.set()
        assert anyio.current_time() < 11

    run_all(backend, [(f"{turns} turns later", partial(main, turns)) for turns in TURNS])
