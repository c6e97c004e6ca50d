"""What an exploration cancels."""

import asyncio
from typing import Any

import anyio
import pytest

from wsnursery.testing import Target


def current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def test_cancelled_through_a_scope():
    target = Target(0)
    async with target.cancellable():
        target.cancel()
        await anyio.sleep_forever()
    assert target.cancelled_caught


async def test_not_cancelled():
    target = Target(0)
    async with target.cancellable():
        pass
    target.cancel()
    target.cancel_natively()
    assert not target.cancelled_caught


def test_cancelled_natively():
    async def main():
        target = Target(0)
        async with target.cancellable():
            target.cancel_natively()
            await asyncio.sleep(1)
        assert target.cancelled_caught
        assert current_task().cancelling() == 0

    asyncio.run(main())


def test_cancelled_natively_and_not_met():
    async def main():
        target = Target(0)
        async with target.cancellable():
            target.cancel_natively()
        assert not target.cancelled_caught
        await asyncio.sleep(0)

    asyncio.run(main())


def test_cancelled_by_other_code():
    async def main():
        async with Target(0).cancellable():
            current_task().cancel()
            await asyncio.sleep(1)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_a_cancellation_that_is_taken_back_twice():
    async def main():
        target = Target(0)
        async with target.cancellable():
            target.cancel_natively()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(1)
            current_task().uncancel()

    with pytest.raises(AssertionError, match="went up by 0 for one cancellation"):
        asyncio.run(main())


async def test_an_error_leaves():
    with pytest.raises(ValueError, match="mine"):
        async with Target(0).cancellable():
            raise ValueError("mine")
