"""Where a task waits."""

import anyio
import anyio.lowlevel

from wsnursery.testing._where import describe_deadlock, where_it_waits


async def outer(waiting):
    await inner(waiting)


async def inner(waiting):
    await anyio.lowlevel.checkpoint()
    if waiting:
        await anyio.sleep_forever()


async def test_the_innermost_line_of_our_own():
    coroutine = outer(True)

    async def run():
        await coroutine

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        assert where_it_waits(coroutine).startswith("in inner (test_where.py:")
        text = describe_deadlock({"run": coroutine, "gone": None})
        assert text.startswith("deadlock: every task waits and no timer is set; run waits in inner")
        tasks.cancel_scope.cancel()


async def test_only_foreign_code():
    coroutine = anyio.sleep_forever()

    async def run():
        await coroutine

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        assert where_it_waits(coroutine).startswith("in ")
        tasks.cancel_scope.cancel()


def test_nothing_that_waits():
    assert where_it_waits(None) == ""
    assert where_it_waits(3) == ""
