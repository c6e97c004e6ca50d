"""T3: every log line about one connection names it: its id, its path, and the peer's address."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from wsnursery import Options, WebSocket, WebSocketDisconnected, open_websocket, testing

PATH = "/rooms/kiwi"
PEER = "192.0.2.1"


async def never_reads(ws: WebSocket, server: testing.Server) -> None:
    await ws.accept()
    for number in range(200):
        with suppress(anyio.WouldBlock):
            server.peer.send_nowait(str(number))
        await anyio.sleep(0.01)


async def unknown_event(ws: WebSocket, server: testing.Server) -> None:
    await ws.accept()
    with server.inject(testing.Garbage(1, {"type": "websocket.unheard"})):
        server.peer.send_nowait("x")
        await ws.receive()


async def rejects(ws: WebSocket, _server: testing.Server) -> None:
    await ws.reject(401)


async def hook_fails(ws: WebSocket, _server: testing.Server) -> None:
    await ws.accept()


async def stuck_send(ws: WebSocket, _server: testing.Server) -> None:
    await ws.accept()
    with suppress(WebSocketDisconnected):
        await ws.send("x")


def boom(_event: object, /) -> None:
    raise ValueError("a hook")


CASES: dict[str, tuple[Callable[[WebSocket, testing.Server], Awaitable[None]], Any, Any]] = {
    "an inbox that no task reads": (never_reads, {}, {}),
    "an event of an unknown type": (unknown_event, {}, {}),
    "a denial that the server cannot send": (rejects, {"scope": {"extensions": {}}}, {}),
    "a hook that fails": (hook_fails, {}, {"hooks": [boom]}),
    "a send that is stuck": (stuck_send, {}, {"send_timeout": 1, "close_timeout": 1}),
    "an origin that is denied": (
        rejects,
        {"headers": [(b"origin", b"https://evil.example")]},
        {"allowed_origins": ["https://good.example"]},
    ),
}


def names(record: logging.LogRecord, ws: WebSocket) -> list[str]:
    """What a line lacks: in its text, or in its fields for structured logs."""
    said = f"{record.getMessage()} {vars(record)}"
    return [what for what in (str(ws.id), PATH, PEER) if what not in said]


# contract: T3
@pytest.mark.parametrize("case", CASES)
async def test_every_line_names_its_connection(case: str, caplog: pytest.LogCaptureFixture) -> None:
    body, arguments, options = CASES[case]
    go_on = anyio.Event()
    if case == "a send that is stuck":
        faults: Any = [testing.StallSend(2, go_on, shielded=True)]
        arguments = {"faults": faults}
    server = testing.Server(path=PATH, **arguments)  # pyright: ignore[reportArgumentType]
    ws = open_websocket(server.scope, server.receive, server.send, options=Options(**options))
    with caplog.at_level(logging.DEBUG, "wsnursery"):
        async with anyio.create_task_group() as tasks:
            if case == "a send that is stuck":
                tasks.start_soon(_release, go_on)
            with suppress(WebSocketDisconnected):
                async with ws:
                    await body(ws, server)
    records = [record for record in caplog.records if record.name.startswith("wsnursery")]
    assert records, "nothing was logged, so the case tests nothing"
    assert [(r.getMessage(), names(r, ws)) for r in records if names(r, ws)] == []


async def _release(go_on: anyio.Event) -> None:
    await anyio.sleep(20)
    go_on.set()
