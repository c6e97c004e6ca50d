"""The table in docs/cancellation.md of what the block raises: every row happens, as it stands."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from wsnursery import WebSocket, WebSocketDisconnected, open_websocket, testing

PAGE = (Path(__file__).parents[1] / "docs" / "cancellation.md").read_text(encoding="utf-8")

Body = Callable[[WebSocket, testing.Server], Awaitable[object]]


async def outcome(body: Body, *faults: testing.Fault) -> tuple[BaseException | None, list[str]]:
    """What the block raises, and the close that was sent."""
    server = testing.Server(faults=faults)
    raised: BaseException | None = None
    try:
        async with open_websocket(server.scope, server.receive, server.send) as ws:
            await ws.accept()
            await body(ws, server)
    except BaseException as exc:  # noqa: BLE001 - it is the result
        raised = exc
    closes = [line for line in server.transcript.lines if line.startswith("app close")]
    return raised, closes


async def interrupted() -> None:
    async def body(ws: WebSocket, server: testing.Server) -> None:
        raise KeyboardInterrupt

    raised, _ = await outcome(body)
    assert type(raised) is KeyboardInterrupt


async def failing_task() -> None:
    async def child() -> None:
        raise LookupError

    async def body(ws: WebSocket, server: testing.Server) -> None:
        ws.start_soon(child)
        server.peer.close()
        await ws.receive()  # own, which is taken out

    raised, _ = await outcome(body)
    assert isinstance(raised, ExceptionGroup)
    assert [type(exc) for exc in raised.exceptions] == [LookupError]


async def failing_body() -> None:
    error = LookupError()

    async def body(ws: WebSocket, server: testing.Server) -> None:
        raise error

    raised, closes = await outcome(body)
    assert raised is error
    assert closes == ["app close 1011"]


async def cancelled_from_outside() -> None:
    async def body(ws: WebSocket, server: testing.Server) -> None:
        scope.cancel()
        await anyio.sleep_forever()

    with anyio.CancelScope() as scope:
        raised, closes = await outcome(body)
        assert isinstance(raised, anyio.get_cancelled_exc_class())
        assert closes == ["app close 1001"]
        raise raised
    assert scope.cancelled_caught


async def own_escapes() -> None:
    async def body(ws: WebSocket, server: testing.Server) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(ws.receive)
            server.peer.close(4000)

    raised, _ = await outcome(body)
    assert isinstance(raised, WebSocketDisconnected)
    assert raised.code == 4000


async def cut_short() -> None:
    async def body(ws: WebSocket, server: testing.Server) -> None:
        server.peer.vanish()
        await anyio.sleep_forever()

    raised, _ = await outcome(body)
    assert isinstance(raised, WebSocketDisconnected)


async def messages_lost() -> None:
    failure = OSError()

    async def body(ws: WebSocket, server: testing.Server) -> None:
        ws.send_nowait("no task is notified of its loss")

    raised, _ = await outcome(body, testing.FailSend(2, failure))
    assert isinstance(raised, WebSocketDisconnected)
    assert raised.__cause__ is failure


async def ended_by_itself() -> None:
    async def loop(ws: WebSocket, server: testing.Server) -> None:
        server.peer.close()
        async for _ in ws:
            pass

    async def catch(ws: WebSocket, server: testing.Server) -> None:
        server.peer.close()
        with pytest.raises(WebSocketDisconnected):
            await ws.receive()

    assert await outcome(loop) == (None, [])
    assert await outcome(catch) == (None, [])


SCENARIOS: dict[str, tuple[str, Callable[[], Awaitable[None]]]] = {
    "`KeyboardInterrupt` or `SystemExit`": ("that exception", interrupted),
    "tasks failed": ("an `ExceptionGroup` of their errors", failing_task),
    "the body raised E": ("E itself, no group; the client gets 1011", failing_body),
    "the block was cancelled from outside": (
        "the cancellation, unchanged; the client gets 1001",
        cancelled_from_outside,
    ),
    "own escaped from the body": ("one `WebSocketDisconnected`, no group, even out", own_escapes),
    "the end interrupted the body": ("one `WebSocketDisconnected`, no group", cut_short),
    "queued messages were lost and no task was notified": (
        "one `WebSocketDisconnected`, no group",
        messages_lost,
    ),
    "the body finished by itself": ("nothing", ended_by_itself),
}
"""How the two cells of a row begin, and what shows it."""


def rows() -> list[tuple[str, str]]:
    _, table = PAGE.split("| what happened inside |", 1)
    lines = re.findall(r"^\| (.+?) \| (.+?) \|$", table.split("\n\n", 1)[0], re.MULTILINE)
    return [(inside, leaves) for inside, leaves in lines]


def test_every_row_has_a_scenario_in_order() -> None:
    for (inside, leaves), (begins, (promised, _)) in zip(rows(), SCENARIOS.items(), strict=True):
        assert inside.startswith(begins)
        assert leaves.startswith(promised)


@pytest.mark.parametrize("row", SCENARIOS)
async def test_row(row: str) -> None:
    _, happens = SCENARIOS[row]
    await happens()
