"""What the contract tests share: run a body in a block, and look at what is left of it."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from wsnursery import Options, WebSocket, WebSocketDisconnected, open_websocket, testing

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
    """Run ``body`` in a block; nothing may be left behind, and the server has no complaint."""
    error: Exception | None = None
    async with testing.no_leaks(), anyio.create_task_group() as outside:
        for moment, action in later:
            outside.start_soon(_at, moment, action)
        try:
            async with open_websocket(
                server.scope, server.receive, server.send, options=Options(**options)
            ) as ws:
                await body(ws)
        except Exception as exc:  # noqa: BLE001 - the test looks at it
            error = exc
        ended_at = anyio.current_time()
        if anyio.current_effective_deadline() != -math.inf:  # not cancelled from outside
            assert cancelling() == 0
        outside.cancel_scope.cancel()
    assert server.transcript.violations == []
    return Ended(error, ended_at)


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
    """That moment, and a little later: the bounded drain after the end takes 10 ms or so."""
    return pytest.approx(seconds + 0.02, abs=0.03)


def closes(server: testing.Server) -> list[str]:
    """Every close frame or denial that the application sent."""
    return [line for line in server.transcript.lines if line.startswith(("app close", "app deny"))]


class Log:
    """Moments that a test wrote down, by name."""

    def __init__(self) -> None:
        self.moments: dict[str, float] = {}

    def note(self, name: str) -> None:
        """It happens now."""
        assert name not in self.moments, f"{name} happened twice"
        self.moments[name] = anyio.current_time()

    async def sleeper(self, name: str = "sleeper") -> None:
        """Sleep for ever and note when that was cut short."""
        try:
            await anyio.sleep_forever()
        finally:
            self.note(name)


async def told_by(call: Callable[[], Awaitable[object]]) -> WebSocketDisconnected:
    """Make a call that must raise WebSocketDisconnected, and give that."""
    with pytest.raises(WebSocketDisconnected) as caught:
        await call()
    return caught.value
