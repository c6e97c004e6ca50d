"""A reader on asyncio that waits for a server's queue, and that another task interrupts."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from wsnursery._backend.queues import AsyncioQueue, Interrupted, is_asyncio_queue


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


class Reading:
    """A task that waits for a queue."""

    def __init__(self) -> None:
        self.events = asyncio.Queue[str]()
        self.queue = AsyncioQueue(self.events.get, self.events, needs_aftercare=False)

    async def begin(self) -> asyncio.Task[Any]:
        task = asyncio.create_task(self.queue.wait())
        await asyncio.sleep(0)
        return task


def test_a_queue_of_this_python_is_recognised() -> None:
    """If this fails, ``asyncio.Queue._getters`` has moved: find the waiting futures elsewhere."""

    async def main() -> None:
        assert is_asyncio_queue(asyncio.Queue[str]())

    run(main())


# contract: R7
def test_an_interrupted_call_loses_nothing_and_its_task_is_not_cancelled() -> None:
    async def main() -> None:
        reading = Reading()
        task = await reading.begin()
        reading.queue.close()
        reading.events.put_nowait("x")
        with pytest.raises(Interrupted):
            await task
        assert task.cancelling() == 0
        assert reading.queue.take() == "x"

    run(main())


def test_a_call_that_is_about_to_return_is_not_interrupted() -> None:
    async def main() -> None:
        reading = Reading()
        task = await reading.begin()
        reading.events.put_nowait("x")
        reading.queue.close()
        assert await task == "x"

    run(main())


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_native_cancellation_in_the_same_turn_is_not_swallowed(order: str) -> None:
    async def main() -> None:
        reading = Reading()
        task = await reading.begin()
        if order == "before":
            task.cancel()
        reading.queue.close()
        if order == "after":
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_only_the_reader_is_interrupted() -> None:
    """The receiver task, which waits for the same queue, may come before the reader has left."""

    async def main() -> None:
        reading = Reading()
        reading.queue.close()  # nobody reads
        task = await reading.begin()
        reading.queue.close()
        receiver = reading.events.get()
        receiver.send(None)
        reading.queue.close()
        with pytest.raises(Interrupted):
            await task
        reading.events.put_nowait("x")
        with pytest.raises(StopIteration, match="x"):
            receiver.send(None)

    run(main())
