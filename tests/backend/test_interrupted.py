"""A raw receive on asyncio that another task interrupts."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from wsnursery._backend.steps import Interrupted, InterruptibleReceive


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


async def begun(raw: Coroutine[Any, Any, Any]) -> InterruptibleReceive:
    return InterruptibleReceive(raw, raw.send(None))


async def ends(raw: Coroutine[Any, Any, Any], calls: list[InterruptibleReceive]) -> Any:
    call = await begun(raw)
    calls.append(call)
    return await call


def test_a_raw_call_that_swallows_its_cancellation_is_closed() -> None:
    closed: list[bool] = []

    async def raw() -> None:
        try:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                await asyncio.get_running_loop().create_future()
        finally:
            closed.append(True)

    async def main() -> None:
        calls: list[InterruptibleReceive] = []
        task = asyncio.create_task(ends(raw(), calls))
        await asyncio.sleep(0)
        calls[0].interrupt()
        with pytest.raises(Interrupted):
            await task
        assert closed == [True]

    run(main())


def test_a_native_cancellation_in_the_same_turn_is_not_swallowed() -> None:
    async def main() -> None:
        calls: list[InterruptibleReceive] = []
        task = asyncio.create_task(ends(asyncio.Queue[str]().get(), calls))
        await asyncio.sleep(0)
        calls[0].interrupt()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
