"""The recipe of `examples/reconnect.py`: it reconnects after growing pauses, which are reset."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio

from examples import reconnect
from wsnursery import WebSocketDisconnected
from wsnursery.testing import virtual_backend


@pytest.fixture
def anyio_backend():
    return virtual_backend("trio")


@pytest.fixture(autouse=True)
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)


async def attempts(
    monkeypatch: pytest.MonkeyPatch, session: Any, seconds: float, error: Exception | None = None
) -> list[float]:
    """When it connects."""
    times: list[float] = []

    @asynccontextmanager
    async def connect(url: str) -> AsyncGenerator[str]:
        times.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if error is not None:
            raise error
        yield url

    monkeypatch.setattr(reconnect, "connect", connect)
    with trio.move_on_after(seconds):
        await reconnect.stay_connected("ws://example.org", session)
    return times


async def test_pauses_grow_up_to_a_bound(monkeypatch: pytest.MonkeyPatch):
    times = await attempts(monkeypatch, None, 130, ConnectionRefusedError("nobody listens"))
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


async def test_stable_session_starts_the_pauses_anew(monkeypatch: pytest.MonkeyPatch):
    async def session(_: object) -> None:
        await trio.sleep(20)
        raise WebSocketDisconnected(1001)

    assert await attempts(monkeypatch, session, 50) == [0, 20.5, 41]


async def test_own_mistakes_leave(monkeypatch: pytest.MonkeyPatch):
    async def session(_: object) -> None:
        raise LookupError("in the session")

    with pytest.raises(LookupError):
        await attempts(monkeypatch, session, 50)
