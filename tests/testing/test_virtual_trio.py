"""Virtual time on trio."""

import pytest
import trio

from wsnursery.testing import Deadlock
from wsnursery.testing._virtual_trio import virtual_options


def run(func):
    return trio.run(func, **virtual_options())


def test_time_jumps():
    async def main():
        start = trio.current_time()
        await trio.sleep(3600)
        return trio.current_time() - start

    assert run(main) == 3600


def test_nothing_that_could_happen():
    async def child():
        await trio.sleep_forever()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            with pytest.raises(Deadlock) as caught:
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()
        return str(caught.value)

    text = run(main)
    assert "child" in text
    assert "main (test_virtual_trio.py:" in text


def test_a_task_in_wait_all_tasks_blocked_is_not_stuck():
    async def main():
        for _ in range(10):
            await trio.testing.wait_all_tasks_blocked()

    run(main)


def test_another_thread_may_wake_it():
    async def main():
        event = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def wake():
            trio.from_thread.run_sync(event.set, trio_token=token)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, wake)
            await event.wait()

    run(main)


def test_a_deadline_is_something_that_can_happen():
    options = virtual_options()
    (detector,) = options["instruments"]

    async def main():
        with trio.move_on_after(10):
            for _ in range(5):
                detector.before_io_wait(0)
            await trio.lowlevel.checkpoint()

    trio.run(main, **options)
