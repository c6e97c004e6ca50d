"""S8: a notified task that calls again and again is named by one warning."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest

from wsnursery import Options, WebSocket, WebSocketDisconnected, open_websocket, testing

ROUNDS = 5_000
"""Rounds after which a circle stops, so that the test ends. The bug never stops."""


async def retries(ws: WebSocket) -> None:
    for _ in range(ROUNDS):
        try:
            await ws.receive()
        except Exception:  # noqa: BLE001 - this is what the bug looks like
            continue


async def retries_to_send(ws: WebSocket) -> None:
    for _ in range(ROUNDS):
        try:
            await ws.send("x")
        except Exception:  # noqa: BLE001 - this is what the bug looks like
            continue


# contract: S8, D3
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("circle", [retries, retries_to_send])
@pytest.mark.parametrize("where", ["body", "child"])
def test_one_warning_names_the_task(
    backend: str,
    circle: Callable[[WebSocket], Awaitable[None]],
    where: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = ""

    async def main() -> None:
        nonlocal name
        server = testing.Server()

        async def reads_first() -> None:
            with suppress(WebSocketDisconnected):
                await ws.receive()
            await circle(ws)

        async with open_websocket(
            server.scope, server.receive, server.send, options=Options(grace_period=60)
        ) as ws:
            await ws.accept()
            if where == "child":
                name = "the child that retries"
                ws.start_soon(reads_first, name=name)
                await anyio.wait_all_tasks_blocked()
                server.peer.close()
                await anyio.sleep(30)
            else:
                server.peer.close()
                name = str(anyio.get_current_task().name)
                await reads_first()

    options = testing.virtual_backend(backend)
    with suppress(WebSocketDisconnected):
        anyio.run(main, backend=options[0], backend_options=options[1])
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert name in warnings[0].getMessage()
